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
#include "services/deidentification/values.h"

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

// Of `rows` by 8 pixels of 16 bits.
Elements WithPixels(Elements image, uint16_t rows) {
  auto number = [](uint16_t n) {
    return std::string{static_cast<char>(n & 0xff), static_cast<char>(n >> 8)};
  };
  image[0x00280002] = {dicom::kUS, number(1)};
  image[0x00280010] = {dicom::kUS, number(rows)};
  image[0x00280011] = {dicom::kUS, number(8)};
  image[0x00280100] = {dicom::kUS, number(16)};
  return image;
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

TEST_CASE("object: meta information that says it is long is not waited for", "[deidentification]") {
  for (uint32_t length : {0x10000u, 0x19000000u, 0xfffffff0u}) {
    std::string start = std::string(128, '\0') + "DICM";
    start.append("\2\0\1\0OB\0\0", 8);
    for (int shift : {0, 8, 16, 24}) start.push_back(static_cast<char>(length >> shift & 0xff));
    StreamDeidentifier stream(Research());
    StringSink sink;
    stream.Start(&sink);
    REQUIRE_OK(stream.Feed(start));
    REQUIRE_OK(stream.Feed(std::string(1 << 10, '\0')));
    INFO(length);
    CHECK(stream.quarantined());
    REQUIRE_VALUE(Outcome outcome, stream.Finish());
    CHECK(outcome.reason == "NOT_DICOM");
  }
}

TEST_CASE("object: text of equipment holds no date of the object and no long number",
          "[deidentification]") {
  Elements image = Image();
  image[0x00080020] = {dicom::kDA, "20200102"};
  image[0x00100030] = {dicom::kDA, "19500312"};
  image[0x00081090] = {dicom::kLO, "Scan Rev 12.03.1950"};
  image[0x00181020] = {dicom::kLO, "Scan 12/03/1950\\2020-01-02\\0795551234\\5.1.7.2\\1950.03.12"};
  image[0x00181210] = {dicom::kSH, "K0795551234"};
  image[0x00181250] = {dicom::kSH, "Rev 19500312"};
  for (const char* name : {"basic", "research"}) {
    Deidentifier deidentifier(*LoadProfile(name), std::string(kProjectKeyBytes, 'k'));
    Run run = Through(Object(Encode(image)), deidentifier);
    REQUIRE(run.outcome.reason == "");
    for (const char* left : {"1950", "1950.03.12", "2020-01-02", "0795551234", "20200102"}) {
      INFO(name << " " << left);
      CHECK_FALSE(absl::StrContains(run.bytes, left));
    }
  }
  // A code may be as long a number.
  Elements other = Image();
  other[0x00082218] = {dicom::kSQ, Item({{0x00080100, {dicom::kSH, "123037004"}},
                                         {0x00080102, {dicom::kSH, "SCT"}}})};
  Elements telephone = Image();
  telephone[0x00082218] = {dicom::kSQ, Item({{0x00080100, {dicom::kSH, "0795551234"}},
                                             {0x00080102, {dicom::kSH, "SCT"}}})};
  CHECK(absl::StrContains(Through(Object(Encode(other))).bytes, "123037004"));
  CHECK_FALSE(absl::StrContains(Through(Object(Encode(telephone))).bytes, "0795551234"));
}

TEST_CASE("object: pages of text that scanners store as images wait for a person",
          "[deidentification]") {
  auto reason = [](const char* type, const char* series, const char* comments = "",
                   const char* sop_class = kCt) {
    Elements image = Image();
    image[0x00080008] = {dicom::kCS, type};
    image[0x00080016] = {dicom::kUI, sop_class};
    image[0x0008103e] = {dicom::kLO, series};
    image[0x00400310] = {dicom::kST, comments};
    return ReasonOfObject(Object(Encode(image)));
  };
  constexpr char kMr[] = "1.2.840.10008.5.1.4.1.1.4";
  constexpr char kPt[] = "1.2.840.10008.5.1.4.1.1.128";
  constexpr char kHeld[] = "POSSIBLE_BURNED_IN_TEXT";
  CHECK(reason("ORIGINAL\\SECONDARY\\OTHER\\CT_SOM5 PROT", "Patient Protocol") == kHeld);
  CHECK(reason("ORIGINAL\\SECONDARY\\OTHER\\CT_SOM5 PROT", "") == kHeld);
  CHECK(reason("ORIGINAL\\PRIMARY\\AXIAL", "PATIENT PROTOCOL") == kHeld);
  CHECK(reason("ORIGINAL\\PRIMARY\\AXIAL", "Dose Report") == kHeld);
  CHECK(reason("ORIGINAL\\PRIMARY\\AXIAL", "", "Total DLP = 312 mGy-cm") == kHeld);
  CHECK(reason("DERIVED\\SECONDARY\\DOSE_INFO", "Chest") == kHeld);
  CHECK(reason("DERIVED\\SECONDARY\\OTHER", "dose page") == kHeld);
  CHECK(reason("DERIVED\\SECONDARY\\VOLREN", "MRCP", "", kMr) == kHeld);
  CHECK(reason("DERIVED\\SECONDARY\\REPORT", "", "", kPt) == kHeld);
  CHECK(reason("ORIGINAL\\PRIMARY\\AXIAL\\CT_SOM5 SPI", "Chest low dose") == "");
  CHECK(reason("DERIVED\\SECONDARY\\MPR", "Low-Dose lung MIP") == "");
  CHECK(reason("ORIGINAL\\PRIMARY\\M\\ND", "PROTON DENSITY", "", kMr) == "");
  CHECK(reason("DERIVED\\PRIMARY\\DOSE", "", "", "1.2.840.10008.5.1.4.1.1.481.3") == "");
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
  const std::string head = Encode(WithPixels(Image(), 4));
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

  // The same name again and again in an item, behind which a rule looks for the identifier.
  std::string nested;
  for (int i = 0; i < 100'000; ++i) nested += Written(0x00100010, dicom::kPN, "A");
  item.clear();
  dicom::AppendItem(nested, kExplicit, item);
  image = Image();
  image[0x00082218] = {dicom::kSQ, item};
  CHECK(ReasonOfObject(Object(Encode(image))) == "DATASET_MALFORMED");
  CHECK(std::chrono::steady_clock::now() - started < std::chrono::seconds(20));
}

TEST_CASE("object: elements of an item that do not ascend are not released", "[deidentification]") {
  auto reason = [](const std::string& elements) {
    std::string item;
    dicom::AppendItem(elements, kExplicit, item);
    Elements image = Image();
    image[0x00082218] = {dicom::kSQ, item};
    return ReasonOfObject(Object(Encode(image)));
  };
  const std::string value = Written(0x00080100, dicom::kSH, "T-D1100");
  const std::string scheme = Written(0x00080102, dicom::kSH, "SRT");
  CHECK(reason(value + scheme) == "");
  CHECK(reason(scheme + value) == "DATASET_MALFORMED");
  CHECK(reason(value + value) == "DATASET_MALFORMED");
}

TEST_CASE("object: an identity under the standard's root is replaced everywhere",
          "[deidentification]") {
  Elements image = Image();
  const std::string uid = "1.2.840.10008.19700312.12345";
  image[0x00080018].second = uid;
  image[0x00200052] = {dicom::kUI, "1.2.840.10008.79.555.12.34.1950"};
  image[0x00200200] = {dicom::kUI, "1.2.840.10008.15.1.1"};
  Run run = Through(Object(Encode(image)));
  REQUIRE(run.outcome.reason == "");
  CHECK_FALSE(absl::StrContains(run.bytes, uid));
  CHECK_FALSE(absl::StrContains(run.bytes, "79.555"));
  CHECK(
      absl::StrContains(run.bytes, Written(0x00080018, dicom::kUI, run.outcome.sop_instance_uid)));
  CHECK(absl::StrContains(run.bytes, Written(0x00200200, dicom::kUI, "1.2.840.10008.15.1.1")));
}

TEST_CASE("object: an attribute that names a class holds the UID of a public class",
          "[deidentification]") {
  for (const char* name : {"basic", "research"}) {
    Deidentifier deidentifier(*LoadProfile(name), std::string(kProjectKeyBytes, 'k'));
    Elements image = Image();
    image[0x00081150] = {dicom::kUI, "Zqi Dr Hansen 12.3.1950"};
    CHECK_FALSE(absl::StrContains(Through(Object(Encode(image)), deidentifier).bytes, "Hansen"));
    image[0x00081150] = {dicom::kUI, "1.3.12.2.1107.79.555.12.34"};
    CHECK_FALSE(absl::StrContains(Through(Object(Encode(image)), deidentifier).bytes, "79.555"));
    image[0x00081150] = {dicom::kUI, kCt};
    CHECK(absl::StrContains(Through(Object(Encode(image)), deidentifier).bytes,
                            Written(0x00081150, dicom::kUI, kCt)));
  }
}

TEST_CASE("object: what stays because it is a number or a time is one", "[deidentification]") {
  auto put = [](dicom::Tag tag, dicom::Vr vr, std::string value) {
    Elements image = WithPixels(Image(), 4);
    image[tag] = {vr, std::move(value)};
    Run run = Through(Object(Encode(image)));
    REQUIRE(run.outcome.reason == "");
    return run.bytes;
  };
  const std::string text = "Dr Zqmuster, Bern 079 555 12 34 ";
  const struct {
    dicom::Tag tag;
    dicom::Vr vr;
  } kPlaces[] = {
      {0x00280002, dicom::kUS},             // samples per pixel
      {0x00280002, dicom::kUN},             // the same under another name
      {0x00280002, dicom::Code('Z', 'Z')},  // and under a VR that is none
      {0x00280106, dicom::kOB},             // smallest pixel value
      {0x00280030, dicom::kOB},             // pixel spacing, a DS
      {0x00280009, dicom::kAT},             // frame increment pointer
      {0x00189087, dicom::Code('F', 'D')},  // diffusion b-value
      {0x00283006, dicom::kOW},             // LUT data
      {0x00281201, dicom::kOW},             // palette
      {0x00080030, dicom::kTM},             // study time
      {0x00200013, dicom::kIS},             // instance number
      {0x00080106, dicom::kDT},             // version of a context group, kept by the table
  };
  for (const auto& place : kPlaces) {
    INFO(std::hex << place.tag);
    CHECK_FALSE(absl::StrContains(put(place.tag, place.vr, text), "Zqmuster"));
  }
  CHECK_FALSE(absl::StrContains(put(0x00080030, dicom::kTM, "19700312"), "19700312"));
  CHECK_FALSE(absl::StrContains(put(0x00080030, dicom::kTM, "101010\\19700312"), "19700312"));
  CHECK(absl::StrContains(put(0x00080030, dicom::kTM, "101010.25"),
                          Written(0x00080030, dicom::kTM, "101010.25")));
  const std::string signed_number("\xff\xff", 2);
  CHECK(absl::StrContains(put(0x00280106, dicom::Code('S', 'S'), signed_number),
                          Written(0x00280106, dicom::Code('S', 'S'), signed_number)));
  // A name is no text of a machine's.
  CHECK_FALSE(absl::StrContains(put(0x00080070, dicom::kPN, "Zqmuster^Jan"), "Zqmuster"));
  CHECK_FALSE(absl::StrContains(put(0x00080100, dicom::kSH, "Zqmuster 1950"), "Zqmuster"));
  CHECK_FALSE(absl::StrContains(put(0x00181020, dicom::kLO, "Sw 079 555 12 34"), "555"));
  // The length of something else.
  CHECK_FALSE(absl::StrContains(put(0x00080001, dicom::kUL, "abcd"), "abcd"));
}

TEST_CASE("object: coded strings hold no dates, telephone numbers and names of places",
          "[deidentification]") {
  auto put = [](dicom::Tag tag, const char* value) {
    Elements image = Image();
    image[tag] = {dicom::kCS, value};
    Run run = Through(Object(Encode(image)));
    REQUIRE(run.outcome.reason == "");
    return run.bytes;
  };
  CHECK_FALSE(absl::StrContains(put(0x00180015, "DR ZQMUSTER BERN"), "ZQMUSTER"));
  CHECK_FALSE(absl::StrContains(put(0x00180015, "ZQMUSTER"), "ZQMUSTER"));
  CHECK_FALSE(absl::StrContains(put(0x00180015, "079 555 12 34"), "555"));
  std::string bytes = put(0x00080008, "ORIGINAL\\PRIMARY\\AXIAL\\19700312");
  CHECK(absl::StrContains(bytes, Written(0x00080008, dicom::kCS, "ORIGINAL\\PRIMARY\\AXIAL\\")));
  CHECK(absl::StrContains(put(0x00180022, "HELICAL MODE"),
                          Written(0x00180022, dicom::kCS, "HELICAL MODE")));
}

TEST_CASE("object: pixels are those of the image and nothing else", "[deidentification]") {
  auto reason = [](const Elements& image, size_t bytes) {
    return ReasonOfObject(
        Object(Encode(image) + Written(dicom::kPixelData, dicom::kOW, std::string(bytes, 'z'))));
  };
  CHECK(reason(WithPixels(Image(), 4), 64) == "");
  CHECK(reason(WithPixels(Image(), 4), 66) == "PIXELS_TOO_LONG");
  CHECK(reason(WithPixels(Image(), 4), 96) == "PIXELS_TOO_LONG");
  CHECK(reason(Image(), 64) == "PIXELS_TOO_LONG");
  Elements frames = WithPixels(Image(), 4);
  frames[0x00280008] = {dicom::kIS, "2"};
  CHECK(reason(frames, 128) == "");
  frames[0x00280008] = {dicom::kIS, "-1"};
  CHECK(reason(frames, 128) == "PIXELS_TOO_LONG");
  frames[0x00280008] = {dicom::kIS, "18446744073709551615"};
  CHECK(reason(frames, 128) == "PIXELS_TOO_LONG");
  // 32 is a blank, whose trimming would leave no number.
  CHECK(reason(WithPixels(Image(), 32), 512) == "");
  CHECK(reason(WithPixels(Image(), 32), 514) == "PIXELS_TOO_LONG");
  CHECK(reason(WithPixels(Image(), 0x2020), 512) == "");
  Elements floats = WithPixels(Image(), 4);
  floats[0x00280100].second = std::string("\40\0", 2);
  CHECK(reason(floats, 128) == "");
  CHECK(reason(floats, 130) == "PIXELS_TOO_LONG");
  // One bit per pixel, and half of the chroma.
  Elements bits = WithPixels(Image(), 1);
  bits[0x00280100].second = std::string("\1\0", 2);
  CHECK(reason(bits, 2) == "");
  CHECK(reason(bits, 4) == "PIXELS_TOO_LONG");
  Elements colour = WithPixels(Image(), 2);
  colour[0x00280002].second = std::string("\3\0", 2);
  colour[0x00280004] = {dicom::kCS, "YBR_FULL_422"};
  colour[0x00280100].second = std::string("\10\0", 2);
  CHECK(reason(colour, 32) == "");
  CHECK(reason(colour, 48) == "");
  CHECK(reason(colour, 40) == "PIXELS_TOO_LONG");
  // Pixels that no image has.
  Elements nested = Image();
  nested[0x00082218] = {dicom::kSQ, Item({{dicom::kPixelData, {dicom::kOW, "Zqnested"}}})};
  Run run = Through(Object(Encode(nested)));
  REQUIRE(run.outcome.reason == "");
  CHECK_FALSE(absl::StrContains(run.bytes, "Zqnested"));
  // An overlay in bits of the pixels, however its attributes are written.
  Elements overlay = Image();
  overlay[0x60000100] = {dicom::kUS, std::string("\20\0", 2)};
  CHECK(ReasonOfObject(Object(Encode(overlay))) == "OVERLAY_IN_PIXELS");
  overlay = Image();
  overlay[0x60000102] = {dicom::kUL, std::string("\14\0\0\0", 4)};
  CHECK(ReasonOfObject(Object(Encode(overlay))) == "OVERLAY_IN_PIXELS");
}

TEST_CASE("object: only reviewed kinds of objects are released without a look",
          "[deidentification]") {
  const std::string root = "1.2.840.10008.5.1.4.1.1.";
  auto reason = [](const std::string& sop_class, Elements more = {},
                   const Deidentifier& deidentifier = Research()) {
    Elements image = Image();
    image[0x00080016].second = sop_class;
    for (auto& [tag, element] : more) image[tag] = element;
    return Through(Object(Encode(image)), deidentifier).outcome.reason;
  };
  for (const char* reviewed : {"2", "2.1", "4", "4.1", "128", "130", "481.2", "481.3", "481.5",
                               "66.4", "66.1", "30", "88.33", "11.1"}) {
    INFO(reviewed);
    CHECK(reason(root + reviewed) == "");
  }
  const Elements no_text = {{0x00280301, {dicom::kCS, "NO"}}};
  for (const char* shows_text : {"1", "1.1", "1.2", "12.1", "12.2", "20", "7", "7.4", "6.1",
                                 "77.1.6", "77.1.5.1", "481.1"}) {
    INFO(shows_text);
    CHECK(reason(root + shows_text) == "POSSIBLE_BURNED_IN_TEXT");
    CHECK(reason(root + shows_text, no_text) == "");
  }
  for (const std::string& unknown :
       {std::string("1.2.3.4.5.6.7"), root + "999", root + "66", root + "9.1.1", root + "2.79",
        std::string("1.2.840.10008.1.1")}) {
    INFO(unknown);
    CHECK(reason(unknown) == "SOP_CLASS_NOT_REVIEWED");
    CHECK(reason(unknown, no_text) == "SOP_CLASS_NOT_REVIEWED");
  }
  // A picture of paper, or of a screen, under the name of a CT.
  CHECK(reason(kCt, {{0x00080064, {dicom::kCS, "SD"}}}) == "POSSIBLE_BURNED_IN_TEXT");
  CHECK(reason(kCt, {{0x00080064, {dicom::kCS, "SD"}}, {0x00280301, {dicom::kCS, "NO"}}}) ==
        "POSSIBLE_BURNED_IN_TEXT");
  CHECK(reason(kCt, {{0x00080064, {dicom::kCS, "DV"}}}) == "POSSIBLE_BURNED_IN_TEXT");
  CHECK(reason(kCt, {{0x00080064, {dicom::kCS, "SYN"}}}) == "");
  // What a site has reviewed itself.
  Profile mine = *ParseProfile(R"({"name": "mine", "base": "research",
      "sopClasses": ["1.2.3.4.5.6.7", "1.2.840.10008.5.1.4.1.1.1"]})");
  Deidentifier listed(mine, std::string(kProjectKeyBytes, 'k'));
  CHECK(reason("1.2.3.4.5.6.7", {}, listed) == "");
  CHECK(reason(root + "1", {}, listed) == "");
  CHECK(reason(root + "1", {{0x00280301, {dicom::kCS, "YES"}}}, listed) == "BURNED_IN_TEXT");
  CHECK(reason(root + "1.1", {}, listed) == "POSSIBLE_BURNED_IN_TEXT");
  Elements image = Image();
  image[0x00080016].second = "1.2.3.4.5.6.7";
  CHECK(absl::StrContains(Through(Object(Encode(image)), listed).bytes,
                          Written(0x00080016, dicom::kUI, "1.2.3.4.5.6.7")));
}

// A content item of TID 1007.
std::string ContentItem(const char* type, const char* code, const Elements& value) {
  Elements item = value;
  item[0x0040a040] = {dicom::kCS, type};
  item[0x0040a043] = {dicom::kSQ, Item({{0x00080100, {dicom::kSH, code}},
                                        {0x00080102, {dicom::kSH, "DCM"}},
                                        {0x00080104, {dicom::kLO, "Zqmeaning"}}})};
  return Item(item);
}

std::string Measured(const char* value, const char* unit) {
  return Item(
      {{0x004008ea,
        {dicom::kSQ, Item({{0x00080100, {dicom::kSH, unit}}, {0x00080102, {dicom::kSH, "UCUM"}}})}},
       {0x0040a30a, {dicom::kDS, value}}});
}

TEST_CASE("object: a report tells no age above 90 and no date of birth", "[deidentification]") {
  auto report = [](const std::string& items, const char* profile = "research") {
    Elements object = Image();
    object[0x00080016].second = "1.2.840.10008.5.1.4.1.1.88.33";
    object[0x00080060].second = "SR";
    object[0x0040a730] = {dicom::kSQ, items};
    Deidentifier deidentifier(*LoadProfile(profile), std::string(kProjectKeyBytes, 'k'));
    Run run = Through(Object(Encode(object)), deidentifier);
    REQUIRE(run.outcome.reason == "");
    return run.bytes;
  };
  auto age = [&](const char* value, const char* unit, const char* code = "121033",
                 const char* profile = "research") {
    return report(ContentItem("NUM", code, {{0x0040a300, {dicom::kSQ, Measured(value, unit)}}}),
                  profile);
  };
  auto number = [](const char* value) { return Written(0x0040a30a, dicom::kDS, value); };
  CHECK(absl::StrContains(age("97", "a"), number("90")));
  CHECK(absl::StrContains(age("54", "a"), number("54")));
  CHECK(absl::StrContains(age("1164", "mo"), number("1080")));
  CHECK(absl::StrContains(age("35430", "d"), number("32872")));
  // In a unit that nobody knows, and where the profile keeps no ages.
  CHECK_FALSE(absl::StrContains(age("97", "years"), number("97")));
  CHECK_FALSE(absl::StrContains(age("54", "a", "121033", "basic"), number("54")));
  // Under another name, and another number in the same report.
  CHECK(absl::StrContains(age("97", "a", "111111"), number("90")));
  CHECK(absl::StrContains(age("97", "mm", "121206"), number("97")));

  const int days = Research().pseudonym_keys().DateOffsetDays("A12");
  const std::string shifted = *ShiftDates("19230505", days);
  auto date = [&](const char* code) {
    return report(ContentItem("DATE", code, {{0x0040a121, {dicom::kDA, "19230505"}}}));
  };
  CHECK_FALSE(absl::StrContains(date("121031"), shifted));
  CHECK_FALSE(absl::StrContains(date("121031"), "19230505"));
  CHECK(absl::StrContains(date("111060"), shifted));  // date of a study
  // A second item is not taken for the first.
  const std::string both = ContentItem("DATE", "121031", {{0x0040a121, {dicom::kDA, "19230505"}}}) +
                           ContentItem("DATE", "111060", {{0x0040a121, {dicom::kDA, "19230506"}}});
  CHECK(absl::StrContains(report(both), *ShiftDates("19230506", days)));
  const std::string text = report(
      ContentItem("TEXT", "121071",
                  {{0x0040a160, {dicom::kUT, "patient 97 years old phone 079 555 12 34 male"}}}));
  CHECK(absl::StrContains(text, "patient old male"));
  CHECK_FALSE(absl::StrContains(text, "97"));
  CHECK_FALSE(absl::StrContains(text, "555"));
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
