// SPDX-License-Identifier: Apache-2.0
#include "services/deidentification/folder_run.h"

#include <catch2/catch.hpp>
#include <filesystem>
#include <set>

#include "absl/strings/str_cat.h"
#include "libs/base/files.h"
#include "libs/testing/status_matchers.h"
#include "libs/testing/temporary_folder.h"
#include "libs/testing/test_data.h"
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

TEST_CASE("run: a file cut anywhere is quarantined or its clean part is whole, and never crashes",
          "[deidentification]") {
  std::string zoo = testing::TestData("dicom-zoo");
  if (zoo.empty()) {
    WARN("the shared test data is not here: nothing was cut");
    return;
  }
  Deidentifier research = Research();
  struct Null final : ObjectSink {
    absl::Status Begin(const Outcome&) override { return absl::OkStatus(); }
    absl::Status Append(absl::string_view) override { return absl::OkStatus(); }
  } sink;
  StreamDeidentifier stream(research);
  for (const char* name : {"liver_deflate.dcm", "explicit_VR-UN.dcm", "693_J2KR.dcm",
                           "emri_small_big_endian.dcm", "bad_sequence.dcm"}) {
    REQUIRE_VALUE(std::string content, base::ReadFile(absl::StrCat(zoo, "/", name)));
    size_t step = std::max<size_t>(1, content.size() / 400);
    for (size_t size = 0; size < content.size(); size += step) {
      stream.Start(&sink);
      REQUIRE_OK(stream.Feed(absl::string_view(content).substr(0, size)));
      REQUIRE_VALUE(Outcome outcome, stream.Finish());
      INFO(name << " cut at " << size);
      CHECK(outcome.released != !outcome.reason.empty());
    }
  }
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
  for (const char* name : {"liver_deflate.dcm", "explicit_VR-UN.dcm", "693_J2KR.dcm",
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
  fs::copy(patient, folder / "in/patient", fs::copy_options::recursive);
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

TEST_CASE("run: a full disk and outputs among the inputs are told", "[deidentification]") {
  testing::TemporaryFolder folder;
  REQUIRE_OK(base::MakeDirectories(folder / "in"));
  Deidentifier research = Research();
  REQUIRE_REASON(RunFolders(research, Options(folder / "in", folder / "in/out")),
                 absl::StatusCode::kInvalidArgument, "OUTPUT_IN_INPUT");
  REQUIRE_REASON(RunFolders(research, Options(folder / "none", folder / "out")),
                 absl::StatusCode::kNotFound, "FILE_NOT_FOUND");
}

}  // namespace
}  // namespace oncomesh::deidentification
