// SPDX-License-Identifier: Apache-2.0
#include "services/deidentification/folder_run.h"

#include <sys/resource.h>

#include <atomic>
#include <catch2/catch.hpp>
#include <chrono>
#include <csignal>
#include <filesystem>
#include <map>
#include <optional>
#include <set>
#include <thread>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_split.h"
#include "absl/time/civil_time.h"
#include "libs/base/files.h"
#include "libs/dicom/file_meta.h"
#include "libs/dicom/rewriter.h"
#include "libs/phantom/generator.h"
#include "libs/testing/status_matchers.h"
#include "libs/testing/temporary_folder.h"
#include "libs/testing/test_data.h"
#include "services/deidentification/file_deidentifier.h"
#include "services/deidentification/release_check.h"
#include "services/deidentification/sealed_file.h"

namespace oncomesh::deidentification {
namespace {

namespace fs = std::filesystem;

Deidentifier Research() {
  return Deidentifier(*LoadProfile("research"), std::string(kProjectKeyBytes, 'k'));
}

FolderRunOptions Options(const std::string& in, const std::string& out) {
  FolderRunOptions options;
  options.inputs = {in};
  options.output_folder = out;
  options.project = "test";
  options.with_manifest = true;
  options.jobs = 2;
  return options;
}

size_t CountFiles(const std::string& folder) {
  absl::StatusOr<std::vector<std::string>> files = base::ListFiles(folder);
  return files.ok() ? files->size() : 0;
}

TEST_CASE("run: every file of the zoo ends released or quarantined", "[deidentification]") {
  std::string zoo = testing::TestData("dicom-zoo");
  if (zoo.empty()) {
    WARN("the shared test data is not here: the zoo was not run");
    return;
  }
  testing::TemporaryFolder folder;
  Deidentifier research = Research();
  FolderRunOptions options = Options(zoo, folder / "out");
  options.quarantine_folder = folder / "q";
  REQUIRE_VALUE(FolderRunReport report, RunFolders(research, options));
  size_t files = CountFiles(zoo);
  CHECK(report.objects_read == files);
  CHECK(report.released + report.quarantined == files);
  CHECK(report.failed == 0);
  CHECK(report.released == CountFiles(folder / "out"));
  for (const auto& entry : report.quarantine) CHECK_FALSE(entry.reason.empty());
  // Quarantined originals come back byte for byte, with the key only.
  REQUIRE_VALUE(std::vector<std::string> sources, ListInputs({zoo}));
  for (const auto& entry : report.quarantine) {
    std::string content;
    REQUIRE_OK(UnsealFile(folder / "q/" + entry.sealed, research.project_keys().QuarantineKey(),
                          [&](absl::string_view part) {
                            content.append(part.data(), part.size());
                            return absl::OkStatus();
                          }));
    REQUIRE_VALUE(std::string original, base::ReadFile(sources[entry.index]));
    CHECK(content == original);
  }
}

TEST_CASE("run: of two objects with one name the first is there before the other is tried",
          "[deidentification]") {
  WrittenPaths written;
  std::atomic<bool> inside = false, done = false, was_first = false;
  std::thread first([&] {
    written
        .Commit("a",
                [&](bool is_first) {
                  was_first = is_first;
                  inside = true;
                  std::this_thread::sleep_for(std::chrono::milliseconds(50));
                  done = true;
                  return absl::OkStatus();
                })
        .IgnoreError();
  });
  while (!inside) std::this_thread::yield();
  bool second_is_first = true, first_was_done = false;
  absl::Status second = written.Commit("a", [&](bool is_first) {
    second_is_first = is_first;
    first_was_done = done;
    return absl::UnknownError("");
  });
  first.join();
  CHECK(second.code() == absl::StatusCode::kUnknown);
  CHECK(was_first);
  CHECK_FALSE(second_is_first);
  CHECK(first_was_done);
  // What was not written does not count.
  CHECK_FALSE(written.Commit("b", [](bool) { return absl::UnknownError(""); }).ok());
  CHECK(written
            .Commit("b",
                    [](bool is_first) {
                      CHECK(is_first);
                      return absl::OkStatus();
                    })
            .ok());
}

// Of the released clinical.csv.
std::set<std::string> CodesOfRows(const std::string& folder) {
  absl::StatusOr<std::string> table = base::ReadFile(folder + "/clinical.csv");
  REQUIRE_OK(table);
  std::set<std::string> out;
  for (absl::string_view line : absl::StrSplit(*table, '\n', absl::SkipEmpty())) {
    out.insert(std::string(line.substr(0, line.find(','))));
  }
  out.erase("patient_id");
  return out;
}

TEST_CASE("run: rows and images of a patient have one code and one offset, whoever issued it",
          "[deidentification]") {
  testing::TemporaryFolder folder;
  phantom::Plan plan{7, {"north"}, 2, {phantom::Modality::kCt}};
  REQUIRE_OK(
      phantom::WriteSite(plan, "north", folder / "in", [](uint64_t) { return true; }).status());
  REQUIRE_VALUE(FolderRunReport report,
                RunFolders(Research(), Options(folder / "in", folder / "out")));
  std::set<std::string> of_images;
  for (const auto& entry : fs::directory_iterator(folder / "out")) {
    if (entry.is_directory()) of_images.insert(entry.path().filename().string());
  }
  CHECK(of_images.size() == 2);
  CHECK(CodesOfRows(folder / "out") == of_images);
  CHECK(report.patients == 2);
  CHECK(report.patients_in_both == 2);

  // A table that does not say who issued its identifiers means the home issuer, and is told of when
  // the images say another.
  REQUIRE_OK(
      base::WriteFileAtomically(folder / "in/clinical.csv", absl::StrCat("patient_id,sex\n", [&] {
                                  std::string rows;
                                  for (const auto& e : fs::directory_iterator(folder / "in")) {
                                    if (!e.is_directory()) continue;
                                    rows += e.path().filename().string() + ",F\n";
                                  }
                                  return rows;
                                }())));
  REQUIRE_VALUE(FolderRunReport apart,
                RunFolders(Research(), Options(folder / "in", folder / "apart")));
  CHECK(apart.table_patients == 2);
  CHECK(apart.patients_in_both == 0);
  Profile home = *LoadProfile("research");
  home.home_issuer = "Phantom Hospital north ";
  Deidentifier at_home(home, std::string(kProjectKeyBytes, 'k'));
  REQUIRE_VALUE(FolderRunReport together,
                RunFolders(at_home, Options(folder / "in", folder / "together")));
  CHECK(together.patients_in_both == 2);
}

// The bytes of each top-level element of a DICOM file, pixels included; nothing when any of it
// cannot be read to its end.
std::optional<std::map<dicom::Tag, std::string>> ElementsOf(absl::string_view bytes) {
  dicom::FileMeta meta;
  if (dicom::ReadFileMeta(bytes, /*complete=*/true, meta) != dicom::Step::kOk) return std::nullopt;
  std::map<dicom::Tag, std::string> out;
  for (size_t offset = meta.data_set; offset < bytes.size();) {
    dicom::Element element;
    size_t end = 0;
    if (dicom::ReadElement(bytes, offset, meta.syntax.encoding, element) != dicom::Step::kOk ||
        dicom::FindEnd(bytes, element, meta.syntax.encoding, end) != dicom::Step::kOk) {
      return std::nullopt;
    }
    out[element.tag] = std::string(bytes.substr(offset, end - offset));
    offset = end;
  }
  return out;
}

TEST_CASE(
    "run: a file cut anywhere is quarantined, or cut between two elements and otherwise whole",
    "[deidentification]") {
  std::string zoo = testing::TestData("dicom-zoo");
  if (zoo.empty()) {
    WARN("the shared test data is not here: nothing was cut");
    return;
  }
  Deidentifier research = Research();
  StreamDeidentifier stream(research);
  struct {
    std::string bytes;
    Outcome outcome;
  } run;
  auto deidentify = [&](absl::string_view content) {
    struct Keep final : ObjectSink {
      explicit Keep(std::string& target) : bytes(target) {}
      absl::Status Begin(const Outcome&) override { return absl::OkStatus(); }
      absl::Status Append(absl::string_view part) override {
        bytes.append(part.data(), part.size());
        return absl::OkStatus();
      }
      std::string& bytes;
    };
    run.bytes.clear();
    Keep sink(run.bytes);
    stream.Start(&sink, /*release_unchecked_pixels=*/true);
    REQUIRE_OK(stream.Feed(content));
    REQUIRE_VALUE(run.outcome, stream.Finish());
  };
  int released = 0;
  for (const char* name : {"liver_deflate.dcm", "explicit_VR-UN.dcm", "693_J2KR.dcm",
                           "emri_small_big_endian.dcm", "bad_sequence.dcm"}) {
    REQUIRE_VALUE(std::string content, base::ReadFile(absl::StrCat(zoo, "/", name)));
    deidentify(content);
    const bool whole_released = run.outcome.released;
    std::optional<std::map<dicom::Tag, std::string>> whole;
    if (whole_released) {
      whole = ElementsOf(run.bytes);
      REQUIRE(whole.has_value());
    }
    // Every byte of the header, where the structure is, and some of the pixels.
    dicom::FileMeta meta;
    REQUIRE(dicom::ReadFileMeta(content, true, meta) == dicom::Step::kOk);
    std::set<size_t> sizes, boundaries;
    for (size_t size = 0; size < content.size();
         size += std::max<size_t>(1, content.size() / 400)) {
      sizes.insert(size);
    }
    for (size_t offset = meta.data_set; offset < content.size();) {
      dicom::Element element;
      size_t end = 0;
      if (dicom::ReadElement(content, offset, meta.syntax.encoding, element) != dicom::Step::kOk ||
          dicom::FindEnd(content, element, meta.syntax.encoding, end) != dicom::Step::kOk) {
        break;
      }
      boundaries.insert(end);
      for (size_t size : {offset + 3, offset + 7, end - 1, end}) {
        if (size < content.size()) sizes.insert(size);
      }
      offset = end;
    }
    for (size_t size : sizes) {
      INFO(name << " cut at " << size);
      deidentify(absl::string_view(content).substr(0, size));
      CHECK(run.outcome.released != !run.outcome.reason.empty());
      if (!run.outcome.released) continue;
      ++released;
      CHECK(boundaries.count(size) == 1);
      REQUIRE(whole.has_value());
      std::optional<std::map<dicom::Tag, std::string>> part = ElementsOf(run.bytes);
      REQUIRE(part.has_value());
      for (const auto& [tag, bytes] : *part) {
        CHECK(whole->count(tag) == 1);
        CHECK(((*whole)[tag] == bytes));
      }
    }
  }
  CHECK(released > 0);
}

TEST_CASE("run: the same bytes whatever the size of the parts they come in", "[deidentification]") {
  std::string zoo = testing::TestData("dicom-zoo");
  if (zoo.empty()) {
    WARN("the shared test data is not here: nothing was streamed");
    return;
  }
  Deidentifier research = Research();
  struct Keep final : ObjectSink {
    absl::Status Begin(const Outcome&) override { return absl::OkStatus(); }
    absl::Status Append(absl::string_view bytes) override {
      content.append(bytes.data(), bytes.size());
      return absl::OkStatus();
    }
    std::string content;
  };
  StreamDeidentifier stream(research);
  for (const char* name : {"liver_deflate.dcm", "693_UNCR.dcm", "693_J2KR.dcm",
                           "MR-SIEMENS-DICOM-WithOverlays.dcm", "liver_nonbyte_aligned_rle.dcm"}) {
    REQUIRE_VALUE(std::string content, base::ReadFile(absl::StrCat(zoo, "/", name)));
    std::set<std::string> outputs;
    for (size_t part : {size_t{997}, size_t{65536}, content.size()}) {
      Keep sink;
      stream.Start(&sink);
      for (size_t at = 0; at < content.size(); at += part) {
        REQUIRE_OK(stream.Feed(absl::string_view(content).substr(at, part)));
      }
      REQUIRE_VALUE(Outcome outcome, stream.Finish());
      INFO(name << ": " << outcome.reason);
      CHECK(outcome.released);
      CHECK(outcome.bytes_written == sink.content.size());
      outputs.insert(sink.content);
    }
    CHECK(outputs.size() == 1);
  }
}

TEST_CASE("run: what is not DICOM is quarantined, and nothing of it is in the report",
          "[deidentification]") {
  testing::TemporaryFolder folder;
  REQUIRE_OK(base::MakeDirectories(folder / "in"));
  REQUIRE_OK(base::WriteFileAtomically(folder / "in/Zqpatient.txt", "Zqpatient was here"));
  REQUIRE_OK(base::WriteFileAtomically(folder / "in/empty", ""));
  REQUIRE_OK(base::WriteFileAtomically(
      folder / "in/garbage", std::string(128, '\0') + "DICM" + std::string(4096, '\xc3')));
  Deidentifier research = Research();
  FolderRunOptions options = Options(folder / "in", folder / "out");
  REQUIRE_VALUE(FolderRunReport report, RunFolders(research, options));
  CHECK(report.quarantined == 3);
  CHECK(report.released == 0);
  CHECK(CountFiles(folder / "out") == 0);
  std::string manifest = WriteManifest(report.manifest, ManifestKey(research.project_keys()));
  CHECK(manifest.find("Zq") == std::string::npos);
  std::vector<std::string> reasons;
  for (const auto& entry : report.quarantine) reasons.push_back(entry.reason);
  CHECK(reasons == std::vector<std::string>{"NOT_DICOM", "FILE_EMPTY", "NOT_DICOM"});
}

TEST_CASE("run: on real studies, twice gives the same bytes, a right manifest and no residue",
          "[deidentification]") {
  std::string sts = testing::TestData("sts");
  if (sts.empty()) {
    WARN("the shared test data is not here: no real study was run");
    return;
  }
  testing::TemporaryFolder folder;
  Deidentifier research = Research();
  std::string patient = fs::directory_iterator(sts + "/node-a")->path().string();
  REQUIRE_OK(base::MakeDirectories(folder / "in"));
  // One by one: folders of the data may be read-only, and copies of them could not be filled.
  for (const auto& entry : fs::recursive_directory_iterator(patient)) {
    if (!entry.is_regular_file()) continue;
    const fs::path target =
        fs::path(folder / "in/patient") / entry.path().lexically_relative(patient);
    REQUIRE_OK(base::MakeDirectories(target.parent_path().string()));
    fs::copy_file(entry.path(), target);
  }
  REQUIRE_OK(base::WriteFileAtomically(
      folder / "in/clinical.csv",
      absl::StrCat("patient_id,sex\n", fs::path(patient).filename().string(), ",F\n")));
  std::string first;
  for (const char* out : {"out1", "out2"}) {
    REQUIRE_VALUE(FolderRunReport report,
                  RunFolders(research, Options(folder / "in", folder / out)));
    CHECK(report.released == report.objects_read);
    CHECK(report.rows_released == 1);
    std::string manifest = WriteManifest(report.manifest, ManifestKey(research.project_keys()));
    if (first.empty()) first = manifest;
    CHECK(manifest == first);
    REQUIRE_OK(base::WriteFileAtomically(folder / "manifest", manifest));
    // One patient: one folder, named by the code that the table has too.
    std::set<std::string> tops;
    for (const auto& entry : fs::directory_iterator(folder / out)) {
      if (entry.is_directory()) tops.insert(entry.path().filename().string());
    }
    REQUIRE(tops.size() == 1);
    REQUIRE_VALUE(std::string table, base::ReadFile(folder / std::string(out) + "/clinical.csv"));
    CHECK(table == absl::StrCat("patient_id,sex\n", *tops.begin(), ",F\n"));
  }
  ReleaseCheckOptions check;
  check.folder = folder / "out1";
  check.manifest_path = folder / "manifest";
  check.source = {folder / "in"};
  check.deidentifier = &research;
  REQUIRE_VALUE(ReleaseReport report, CheckRelease(check));
  for (const ReleaseFinding& finding : report.findings) {
    INFO(FindingName(finding.kind) << " " << finding.detail);
    CHECK(false);
  }
  CHECK(report.signed_by_project);
  CHECK(report.searched + 1 == report.objects);
  CHECK(report.identifiers > 10 * report.searched);

  // Anything that changes is found.
  REQUIRE_VALUE(std::vector<std::string> files, base::ListFiles(folder / "out1"));
  REQUIRE_VALUE(std::string bytes, base::ReadFile(files[0]));
  bytes[bytes.size() / 2] = static_cast<char>(bytes[bytes.size() / 2] ^ 1);
  REQUIRE_OK(base::WriteFileAtomically(files[0], bytes));
  fs::remove(files[1]);
  REQUIRE_OK(base::WriteFileAtomically(folder / "out1/new", "x"));
  check.source.clear();
  REQUIRE_VALUE(ReleaseReport changed, CheckRelease(check));
  CHECK(changed.findings.size() == 3);
  // A manifest that was touched says nothing any more.
  std::string forged = first;
  forged.replace(forged.find("\"bytes\":"), 8, "\"bytes\": ");
  REQUIRE_REASON(ReadManifest(forged), absl::StatusCode::kDataLoss, "MANIFEST_SIGNATURE");
}

TEST_CASE("run: outputs among the inputs and inputs that are not there are told",
          "[deidentification]") {
  testing::TemporaryFolder folder;
  REQUIRE_OK(base::MakeDirectories(folder / "in"));
  Deidentifier research = Research();
  REQUIRE_REASON(RunFolders(research, Options(folder / "in", folder / "in/out")),
                 absl::StatusCode::kInvalidArgument, "OUTPUT_IN_INPUT");
  REQUIRE_REASON(RunFolders(research, Options(folder / "none", folder / "out")),
                 absl::StatusCode::kNotFound, "FILE_NOT_FOUND");
}

TEST_CASE("run: a full disk ends it and leaves whole files only", "[deidentification]") {
  std::string zoo = testing::TestData("dicom-zoo");
  if (zoo.empty()) {
    WARN("the shared test data is not here: no disk was filled");
    return;
  }
  testing::TemporaryFolder folder;
  REQUIRE_OK(base::MakeDirectories(folder / "in"));
  // In the order of their names: one that fits, then two that do not.
  fs::copy(zoo + "/liver_deflate.dcm", folder / "in/1.dcm");
  fs::copy(zoo + "/693_UNCR.dcm", folder / "in/2.dcm");
  fs::copy(zoo + "/MR-SIEMENS-DICOM-WithOverlays.dcm", folder / "in/3.dcm");
  Deidentifier research = Research();
  FolderRunOptions options = Options(folder / "in", folder / "out");
  options.jobs = 1;
  // A limit on the size of files fails a write half-way, as a full disk does.
  struct rlimit before{};
  REQUIRE(getrlimit(RLIMIT_FSIZE, &before) == 0);
  auto* old_handler = std::signal(SIGXFSZ, SIG_IGN);
  struct rlimit low = before;
  low.rlim_cur = 200'000;
  REQUIRE(setrlimit(RLIMIT_FSIZE, &low) == 0);
  absl::StatusOr<FolderRunReport> report = RunFolders(research, options);
  REQUIRE(setrlimit(RLIMIT_FSIZE, &before) == 0);
  std::signal(SIGXFSZ, old_handler);
  REQUIRE_REASON(report, absl::StatusCode::kResourceExhausted, "DISK_FULL");
  REQUIRE_VALUE(std::vector<std::string> files, base::ListFiles(folder / "out"));
  CHECK(files.size() == 1);
  // With room again it goes on, and what is there already stays.
  REQUIRE_VALUE(FolderRunReport again, RunFolders(research, options));
  CHECK(again.released == 3);
  CHECK(CountFiles(folder / "out") == 3);
}

TEST_CASE("run: another clinical table in the output is told before any object is read",
          "[deidentification]") {
  testing::TemporaryFolder folder;
  REQUIRE_OK(base::MakeDirectories(folder / "in/a"));
  REQUIRE_OK(base::MakeDirectories(folder / "in/b"));
  REQUIRE_OK(base::MakeDirectories(folder / "out"));
  REQUIRE_OK(base::WriteFileAtomically(folder / "in/a/clinical.csv", "patient_id,sex\nP1,F\n"));
  REQUIRE_OK(
      base::WriteFileAtomically(folder / "in/b/clinical.csv", "patient_id,stage\nP1,IV\nP2,I\n"));
  REQUIRE_OK(base::WriteFileAtomically(folder / "in/x.dcm", "no object"));
  REQUIRE_OK(base::WriteFileAtomically(folder / "out/clinical.csv", "patient_id\n"));
  Deidentifier research = Research();
  FolderRunOptions options = Options(folder / "in", folder / "out");
  options.jobs = 1;
  uint64_t objects = 0;
  options.progress = [&](uint64_t files, uint64_t) { objects += files; };
  REQUIRE_REASON(RunFolders(research, options), absl::StatusCode::kAlreadyExists, "OUTPUT_EXISTS");
  CHECK(objects == 0);
  options.overwrite = true;
  REQUIRE_VALUE(FolderRunReport report, RunFolders(research, options));
  CHECK(report.rows_read == 3);
  CHECK(report.rows_released == 1);
  CHECK(objects == 1);
}

TEST_CASE("release check: who signed is told only when there is something to compare with",
          "[deidentification]") {
  testing::TemporaryFolder folder;
  REQUIRE_OK(base::MakeDirectories(folder / "out"));
  REQUIRE_OK(base::WriteFileAtomically(folder / "out/clinical.csv", "patient_id\n"));
  Deidentifier research = Research();
  auto write = [&](const std::string& content, const crypto::PrivateKey& key) {
    Manifest manifest = NewManifest(research, "p");
    ManifestEntry entry;
    entry.path = "clinical.csv";
    entry.sha256 = crypto::Sha256Hex(content);
    entry.bytes = content.size();
    entry.table = true;
    manifest.entries = {entry};
    REQUIRE_OK(base::WriteFileAtomically(folder / "out/clinical.csv", content));
    REQUIRE_OK(base::WriteFileAtomically(folder / "manifest", WriteManifest(manifest, key)));
  };
  const crypto::PrivateKey ours = ManifestKey(research.project_keys());
  ReleaseCheckOptions check;
  check.folder = folder / "out";
  check.manifest_path = folder / "manifest";
  write("patient_id\nA\n", ours);
  REQUIRE_VALUE(ReleaseReport unknown, CheckRelease(check));
  CHECK_FALSE(unknown.signed_by_project);
  check.public_key = ours.Public().Raw();
  REQUIRE_VALUE(ReleaseReport right, CheckRelease(check));
  CHECK(right.signed_by_project);
  CHECK(right.findings.empty());
  // Changed, and signed anew by somebody else.
  write("patient_id\nB\n", ManifestKey(Keys(std::string(kProjectKeyBytes, 'x'))));
  REQUIRE_REASON(CheckRelease(check), absl::StatusCode::kFailedPrecondition, "KEY_NOT_OF_MANIFEST");
}

TEST_CASE("release check: an object with ten thousand dates takes no time", "[deidentification]") {
  testing::TemporaryFolder folder;
  constexpr dicom::Encoding kExplicit{.explicit_vr = true, .big_endian = false};
  std::string items;
  for (int i = 0; i < 10'000; ++i) {
    absl::CivilDay day = absl::CivilDay(1500, 1, 1) + 11 * i;
    std::string element;
    dicom::AppendElement(0x00080020, dicom::kDA,
                         absl::StrFormat("%04d%02d%02d", day.year(), day.month(), day.day()),
                         kExplicit, element);
    dicom::AppendItem(element, kExplicit, items);
  }
  std::string object =
      dicom::MakeFileMeta("1.2.840.10008.5.1.4.1.1.2", "1.2.3", "1.2.840.10008.1.2.1");
  dicom::AppendElement(0x00082218, dicom::kSQ, items, kExplicit, object);
  dicom::AppendElement(0x00100020, dicom::kLO, "P1", kExplicit, object);
  REQUIRE_OK(base::WriteFileAtomically(folder / "a.dcm", object));
  Deidentifier research = Research();
  auto started = std::chrono::steady_clock::now();
  REQUIRE_VALUE(SourceIdentifiers identifiers, SourceIdentifiers::Read(folder / "a.dcm", research));
  CHECK(identifiers.size() > 10'000);
  CHECK(std::chrono::steady_clock::now() - started < std::chrono::seconds(10));
}

}  // namespace
}  // namespace oncomesh::deidentification
