// SPDX-License-Identifier: Apache-2.0
// Objects built element by element, where a writer of files would not write what is tested.
#include "services/deidentification/deidentifier.h"

#include <algorithm>
#include <catch2/catch.hpp>
#include <chrono>
#include <map>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "libs/base/files.h"
#include "libs/dicom/rewriter.h"
#include "libs/testing/status_matchers.h"
#include "libs/testing/temporary_folder.h"
#include "services/deidentification/deflate_stream.h"
#include "services/deidentification/file_deidentifier.h"
#include "services/deidentification/folder_run.h"
#include "services/deidentification/release_check.h"

namespace oncomesh::deidentification {
namespace {

constexpr dicom::Encoding kExplicit{.explicit_vr = true, .big_endian = false};
constexpr char kCt[] = "1.2.840.10008.5.1.4.1.1.2";
constexpr char kExplicitLittle[] = "1.2.840.10008.1.2.1";
constexpr char kDeflated[] = "1.2.840.10008.1.2.1.99";

// Elements by ascending tag.
using Elements = std::map<dicom::Tag, std::pair<dicom::Vr, std::string>>;

std::string Encode(const Elements& elements) {
  std::string out;
  for (const auto& [tag, element] : elements) {
    REQUIRE(dicom::AppendElement(tag, element.first, element.second, kExplicit, out));
  }
  return out;
}

Elements Image() {
  return {{0x00080016, {dicom::kUI, kCt}},
          {0x00080018, {dicom::kUI, "1.2.276.0.99.1.1.1"}},
          {0x00080060, {dicom::kCS, "CT"}},
          {0x00100010, {dicom::kPN, "Li^Na"}},
          {0x00100020, {dicom::kLO, "A12"}},
          {0x0020000d, {dicom::kUI, "1.2.276.0.99.1.1.2"}},
          {0x0020000e, {dicom::kUI, "1.2.276.0.99.1.1.3"}}};
}

std::string Object(const std::string& data_set, const char* syntax = kExplicitLittle) {
  return std::string(dicom::MakeFileMeta(kCt, "1.2.276.0.99.1.1.1", syntax)) + data_set;
}

std::string Item(const Elements& elements) {
  std::string out;
  dicom::AppendItem(Encode(elements), kExplicit, out);
  return out;
}

class StringSink final : public ObjectSink {
 public:
  absl::Status Begin(const Outcome&) override { return absl::OkStatus(); }
  absl::Status Append(absl::string_view part) override {
    bytes.append(part.data(), part.size());
    return absl::OkStatus();
  }
  std::string bytes;
};

const Deidentifier& Research() {
  static const auto* const kResearch =
      new Deidentifier(*LoadProfile("research"), std::string(kProjectKeyBytes, 'k'));
  return *kResearch;
}

struct Run {
  Outcome outcome;
  std::string bytes;
};

Run Through(const std::string& object, const Deidentifier& deidentifier = Research()) {
  StreamDeidentifier stream(deidentifier);
  StringSink sink;
  stream.Start(&sink);
  REQUIRE_OK(stream.Feed(object));
  absl::StatusOr<Outcome> outcome = stream.Finish();
  REQUIRE_OK(outcome);
  return {*outcome, sink.bytes};
}

std::string ReasonOfObject(const std::string& object) { return Through(object).outcome.reason; }

// Tag, VR and value as they stand in explicit little endian.
std::string Written(dicom::Tag tag, dicom::Vr vr, absl::string_view value) {
  std::string out;
  REQUIRE(dicom::AppendElement(tag, vr, value, kExplicit, out));
  return out;
}

TEST_CASE("object: short names and identifiers do not stay in kept texts", "[deidentification]") {
  Elements image = Image();
  image[0x00080008] = {dicom::kCS, "ORIGINAL\\PRIMARY\\LI"};
  image[0x00080070] = {dicom::kLO, "SIEMENS"};
  image[0x00081090] = {dicom::kLO, "Scanner of Li A12"};
  image[0x00181210] = {dicom::kSH, "B30f"};
  image[0x00181250] = {dicom::kSH, "NA-head"};
  Run run = Through(Object(Encode(image)));
  REQUIRE(run.outcome.reason == "");
  CHECK(absl::StrContains(run.bytes, Written(0x00080008, dicom::kCS, "ORIGINAL\\PRIMARY\\")));
  CHECK(absl::StrContains(run.bytes, Written(0x00080070, dicom::kLO, "SIEMENS")));
  CHECK(absl::StrContains(run.bytes, Written(0x00081090, dicom::kLO, "Scanner of")));
  CHECK(absl::StrContains(run.bytes, Written(0x00181210, dicom::kSH, "B30f")));
  CHECK(absl::StrContains(run.bytes, Written(0x00181250, dicom::kSH, "head")));
}

TEST_CASE("object: a text in place of a number does not stay", "[deidentification]") {
  Elements image = Image();
  image[0x00180050] = {dicom::kDS, "Zqtext"};  // slice thickness
  image[0x00180060] = {dicom::kLT, "Zqtext"};  // KVP, under another VR
  image[0x00280010] = {dicom::kUT, "Zqtext"};  // rows
  image[0x00200013] = {dicom::kIS, "7"};
  Run run = Through(Object(Encode(image)));
  REQUIRE(run.outcome.reason == "");
  CHECK_FALSE(absl::StrContains(run.bytes, "Zqtext"));
  CHECK(absl::StrContains(run.bytes, Written(0x00200013, dicom::kIS, "7")));
}

TEST_CASE("object: a text in place of a coded string is reduced to medical words",
          "[deidentification]") {
  Elements image = Image();
  image[0x00080008] = {dicom::kCS, "ORIGINAL\\PRIMARY\\CT_SOM5 SEQ\\seen by Dr Zqmiller"};
  image[0x00180015] = {dicom::kCS, "Chest"};
  image[0x00180022] = {dicom::kCS, "CALL THE ZQWARD AND ASK"};
  Run run = Through(Object(Encode(image)));
  REQUIRE(run.outcome.reason == "");
  CHECK(absl::StrContains(run.bytes,
                          Written(0x00080008, dicom::kCS, "ORIGINAL\\PRIMARY\\CT_SOM5 SEQ\\")));
  CHECK(absl::StrContains(run.bytes, Written(0x00180015, dicom::kCS, "Chest")));
  CHECK_FALSE(absl::StrContains(run.bytes, "ZQWARD"));
}

TEST_CASE("object: encrypted attributes and signatures go", "[deidentification]") {
  Elements image = Image();
  image[0x04000500] = {dicom::kSQ, Item({{0x04000510, {dicom::kUI, kExplicitLittle}},
                                         {0x04000520, {dicom::kOB, "Zqsecret"}}})};
  for (const Profile& profile : BuiltInProfiles()) {
    Deidentifier deidentifier(profile, std::string(kProjectKeyBytes, 'k'));
    Run run = Through(Object(Encode(image)), deidentifier);
    REQUIRE(run.outcome.reason == "");
    CHECK_FALSE(absl::StrContains(run.bytes, "Zqsecret"));
  }
}

TEST_CASE("object: voices are not released, and pictures of the eye are looked at first",
          "[deidentification]") {
  const std::pair<const char*, const char*> kClasses[] = {
      {"1.2.840.10008.5.1.4.1.1.9.4.1", "AUDIO"},
      {"1.2.840.10008.5.1.4.1.1.9.4.2", "AUDIO"},
      {"1.2.840.10008.5.1.4.1.1.77.1.5.1", "POSSIBLE_BURNED_IN_TEXT"},
      {"1.2.840.10008.5.1.4.1.1.77.1.5.4", "POSSIBLE_BURNED_IN_TEXT"},
      {kCt, ""}};
  for (const auto& [sop_class, reason] : kClasses) {
    Elements image = Image();
    image[0x00080016].second = sop_class;
    INFO(sop_class);
    CHECK(ReasonOfObject(Object(Encode(image))) == reason);
  }
  Elements voice = Image();
  voice[0x00080060].second = "AU";
  CHECK(ReasonOfObject(Object(Encode(voice))) == "AUDIO");
}

TEST_CASE("object: the method another program names is a text like any other",
          "[deidentification]") {
  Elements image = Image();
  image[0x00120063] = {dicom::kLO,
                       "OTHERMETHOD by Dr Miller\\oncomesh research, PS3.15 2025a\\CHEST WINDOW"};
  Run run = Through(Object(Encode(image)));
  REQUIRE(run.outcome.reason == "");
  CHECK_FALSE(absl::StrContains(run.bytes, "Miller"));
  CHECK_FALSE(absl::StrContains(run.bytes, "OTHERMETHOD"));
  CHECK(absl::StrContains(run.bytes, "oncomesh research, PS3.15 2025a\\CHEST WINDOW\\oncomesh"));
}

TEST_CASE("object: a name inside an item is not taken for the object's patient",
          "[deidentification]") {
  const std::string code = Research().pseudonym_keys().PatientCode("A12");
  auto released = [&](Elements item, const char* issuer = "") {
    Elements image = Image();
    if (*issuer != '\0') image[0x00100021] = {dicom::kLO, issuer};
    image[0x00081115] = {dicom::kSQ, Item(item)};
    Run run = Through(Object(Encode(image)));
    REQUIRE(run.outcome.reason == "");
    size_t at = run.bytes.find(std::string("\x08\x00\x15\x11SQ", 6));
    REQUIRE(at != std::string::npos);
    return run.bytes.substr(at, 12 + dicom::Load32(run.bytes, at + 8, /*big_endian=*/false));
  };
  Elements donor = {{0x00100010, {dicom::kPN, "Zqdonor"}}, {0x00100020, {dicom::kLO, "B77"}}};
  CHECK(absl::StrContains(released(donor), Written(0x00100010, dicom::kPN, "REMOVED")));
  CHECK(absl::StrContains(
      released(donor),
      Written(0x00100020, dicom::kLO, Research().pseudonym_keys().PatientCode("B77"))));
  Elements nameless = {{0x00100010, {dicom::kPN, "Zqdonor"}}};
  CHECK(absl::StrContains(released(nameless), Written(0x00100010, dicom::kPN, "REMOVED")));
  Elements same = {{0x00100010, {dicom::kPN, "Li^Na"}}, {0x00100020, {dicom::kLO, "A12"}}};
  CHECK(absl::StrContains(released(same), Written(0x00100010, dicom::kPN, code)));
  // The same number from another hospital is another patient.
  same[0x00100021] = {dicom::kLO, "OTHER"};
  CHECK(absl::StrContains(released(same), Written(0x00100010, dicom::kPN, "REMOVED")));
  CHECK_FALSE(absl::StrContains(released(same), Written(0x00100020, dicom::kLO, code)));
}

TEST_CASE("object: what cannot be read to its end is not released", "[deidentification]") {
  std::string pixels;
  REQUIRE(dicom::AppendElement(dicom::kPixelData, dicom::kOW, std::string(64, '\x11'), kExplicit,
                               pixels));
  const std::string head = Encode(Image());
  CHECK(ReasonOfObject(Object(head + pixels)) == "");
  CHECK(ReasonOfObject(Object(head + pixels + std::string(16, '\0'))) == "");
  // The length says half of what there is.
  std::string halved = pixels;
  halved[8] = 32;
  CHECK(ReasonOfObject(Object(head + halved)) == "DATASET_MALFORMED");
  CHECK(ReasonOfObject(Object(head + pixels + "Zqtail")) != "");

  std::string deflated;
  Deflater().Feed(head + pixels, /*last=*/true, deflated);
  CHECK(ReasonOfObject(Object(deflated, kDeflated)) == "");
  CHECK(ReasonOfObject(Object(deflated + std::string(1, '\0'), kDeflated)) == "");
  CHECK(ReasonOfObject(Object(deflated + "Zqtail", kDeflated)) == "DEFLATE_INVALID");
}

TEST_CASE("object: a header made of identifiers or of creators takes no time",
          "[deidentification]") {
  auto started = std::chrono::steady_clock::now();
  Elements image = Image();
  std::string names;
  for (int i = 0; i < 100'000; ++i) absl::StrAppend(&names, "Zqname", i, "\\");
  image[0x00081048] = {dicom::kPN, ""};
  std::string header = Encode(image);
  // Too long for a PN of an explicit encoding, so under UN.
  std::string many = Written(0x00081048, dicom::kUN, names);
  Elements before, after;
  for (const auto& element : Image()) (element.first < 0x00081048 ? before : after).insert(element);
  CHECK(ReasonOfObject(Object(Encode(before) + many + Encode(after))) == "IDENTIFIERS_TOO_MANY");

  // The same creator again and again in an item.
  std::string creators;
  for (int i = 0; i < 50'000; ++i) creators += Written(0x00290010, dicom::kLO, "ZQ VENDOR");
  std::string item;
  dicom::AppendItem(creators, kExplicit, item);
  image = Image();
  image[0x00081115] = {dicom::kSQ, item};
  CHECK(ReasonOfObject(Object(Encode(image))) == "DATASET_MALFORMED");
  CHECK(std::chrono::steady_clock::now() - started < std::chrono::seconds(20));
}

TEST_CASE("search: every string is found where it stands alone, however many there are",
          "[deidentification]") {
  IdentifierSearch search;
  const std::string long_text(1000, 'q');
  for (const char* text : {"miller", "mill", "Millerson", "1.2.3.4", "MILLER", "abc"}) {
    search.Add(text);
  }
  search.Add(long_text);
  search.Finish();
  size_t which = 99;
  CHECK(search.Find("a Miller b", 0, 4, &which) == 2);
  CHECK(which == 0);
  CHECK(search.Find("millers") == IdentifierSearch::kNoHit);
  CHECK(search.Find("x mill.", 0, 4, &which) == 2);
  CHECK(which == 1);
  CHECK(search.Find("x mill.", 0, 5) == IdentifierSearch::kNoHit);
  CHECK(search.Find("MILLERSON", 0, 8, &which) == 0);
  CHECK(which == 2);
  CHECK(search.Find("11.2.3.4") == IdentifierSearch::kNoHit);
  CHECK(search.Find("abc abc abc") == IdentifierSearch::kNoHit);
  CHECK(search.Find("x " + long_text, 0, 4, &which) == 2);
  CHECK(which == 6);
  // 20,000 strings with the same beginning, over bytes that have it everywhere.
  IdentifierSearch many;
  std::string bytes;
  for (int i = 0; i < 20'000; ++i) many.Add(absl::StrCat("1.2.840.", i));
  many.Finish();
  for (int i = 0; i < 100'000; ++i) bytes += "1.2.840.x ";
  auto started = std::chrono::steady_clock::now();
  CHECK(many.Find(bytes) == IdentifierSearch::kNoHit);
  CHECK(many.Find(bytes + "1.2.840.19999") == bytes.size());
  CHECK(std::chrono::steady_clock::now() - started < std::chrono::seconds(10));
}

TEST_CASE("release check: deflated objects are searched, and what is not searched is told",
          "[deidentification]") {
  testing::TemporaryFolder folder;
  REQUIRE_OK(base::MakeDirectories(folder / "in"));
  Elements image = Image();
  image[0x00100010].second = "Zqfamily^Zqgiven";
  std::string deflated;
  Deflater().Feed(Encode(image), /*last=*/true, deflated);
  if (deflated.size() % 2 != 0) deflated.push_back('\0');
  REQUIRE_OK(base::WriteFileAtomically(folder / "in/a.dcm", Object(deflated, kDeflated)));
  FolderRunOptions run;
  run.inputs = {folder / "in"};
  run.output_folder = folder / "out";
  run.project = "p";
  run.with_manifest = true;
  REQUIRE_VALUE(FolderRunReport report, RunFolders(Research(), run));
  REQUIRE(report.released == 1);
  std::string path = folder / "out/" + report.manifest.entries[0].path;
  REQUIRE_VALUE(SourceIdentifiers identifiers,
                SourceIdentifiers::Read(folder / "in/a.dcm", Research()));
  REQUIRE_VALUE(std::vector<std::string> none, SearchFile(path, identifiers));
  CHECK(none.empty());
  // A name left in on purpose, behind the compression.
  image[0x00081030] = {dicom::kLO, "CHEST of Zqgiven"};
  std::string dirty;
  Deflater().Feed(Encode(image), /*last=*/true, dirty);
  REQUIRE_OK(base::WriteFileAtomically(folder / "dirty.dcm", Object(dirty, kDeflated)));
  REQUIRE_VALUE(std::vector<std::string> found, SearchFile(folder / "dirty.dcm", identifiers));
  CHECK(std::find(found.begin(), found.end(), "name") != found.end());

  REQUIRE_OK(base::WriteFileAtomically(
      folder / "manifest", WriteManifest(report.manifest, ManifestKey(Research().project_keys()))));
  ReleaseCheckOptions check;
  check.folder = folder / "out";
  check.manifest_path = folder / "manifest";
  check.source = {folder / "in"};
  check.deidentifier = &Research();
  REQUIRE_VALUE(ReleaseReport clean, CheckRelease(check));
  CHECK(clean.searched == 1);
  CHECK(clean.findings.empty());
  REQUIRE_OK(base::MakeDirectories(folder / "other"));
  check.source = {folder / "other"};
  image[0x00080018].second = "1.2.276.0.99.1.1.4";
  REQUIRE_OK(base::WriteFileAtomically(folder / "other/x.dcm", Object(Encode(image))));
  REQUIRE_VALUE(ReleaseReport unsearched, CheckRelease(check));
  REQUIRE(unsearched.findings.size() == 1);
  CHECK(FindingName(unsearched.findings[0].kind) == std::string("UNSEARCHED"));
}

}  // namespace
}  // namespace oncomesh::deidentification
