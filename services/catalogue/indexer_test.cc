// SPDX-License-Identifier: Apache-2.0
#include "services/catalogue/indexer.h"

#include <catch2/catch.hpp>
#include <cstdlib>
#include <filesystem>
#include <thread>

#include "absl/strings/str_cat.h"
#include "libs/base/files.h"
#include "libs/crypto/digest.h"
#include "libs/testing/status_matchers.h"
#include "libs/testing/test_data.h"
#include "services/catalogue/testing_node.h"

namespace oncomesh::catalogue {
namespace {

TEST_CASE("indexer: what is released can be counted at its level") {
  Node node;
  node.Release("PATIENTA", 1, 1, 1, "CT",
               {{0x00080070, {"LO", "GE MEDICAL SYSTEMS"}},
                {0x00101010, {"AS", "057Y"}},
                {0x00180050, {"DS", "2.50"}},
                {0x00100040, {"CS", "F"}},
                {0x00180015, {"CS", "BREAST"}}});
  node.Release("PATIENTA", 1, 1, 2, "CT");
  node.Release("PATIENTA", 1, 2, 3, "PT", {{0x00080070, {"LO", "SIEMENS"}}});
  node.Release("PATIENTB", 2, 3, 4, "MR", {{0x00101010, {"AS", "018M"}}});
  node.Clinical("PATIENTB", {{"Sex", "male"}, {"topography", "C49.2"}, {"note", "ignored"}});
  node.Clinical("PATIENTC", {{"topography", "C50.4"}, {"stage", "IIA"}});
  v1::IndexStatus status = node.Sync();
  CHECK(status.patients() == 3);
  CHECK(status.studies() == 2);
  CHECK(status.series() == 3);
  CHECK(status.objects() == 4);
  CHECK(status.cursor() == 6);
  CHECK(node.Patients("modality = \"CT\" and manufacturer = \"GE\" and slice_thickness_mm = 2.5") ==
        1);
  CHECK(node.Patients("modality = \"PT\" and manufacturer = \"GE\"") == 0);
  CHECK(node.Patients("study has (modality = \"CT\") and modality = \"PT\"") == 1);
  CHECK(node.Patients("age = 57") == 1);
  CHECK(node.Patients("age = 1") == 1);
  CHECK(node.Patients("sex = \"M\"") == 1);
  CHECK(node.Patients("stage = \"II\"") == 1);
  CHECK(node.Patients("image_count = 2") == 1);
  CHECK(node.Patients("not patient has (modality = \"CT\")") == 2);
  // Nothing new: nothing changes.
  CHECK(node.Sync().objects() == 4);
}

TEST_CASE("indexer: the year of a study is known only where dates were not shifted") {
  Node node;
  node.Release("PATIENTA", 1, 1, 1, "CT",
               {{0x00080020, {"DA", "20190504"}}, {0x00280303, {"CS", "MODIFIED"}}});
  node.Release("PATIENTB", 2, 2, 2, "CT", {{0x00080020, {"DA", "20190504"}}});
  node.Release("PATIENTC", 3, 3, 3, "CT",
               {{0x00080020, {"DA", "20190504"}}, {0x00280303, {"CS", "UNMODIFIED"}}});
  node.Sync();
  CHECK(node.Patients("study_year = 2019") == 1);
}

TEST_CASE("indexer: an object that is none is counted and passed over") {
  Node node;
  node.Release("PATIENTA", 1, 1, 1, "CT");
  REQUIRE_VALUE(std::string garbage, node.objects->Put("this is no DICOM object"));
  node.feed.Add({.kind = Released::Kind::kObject, .sha256 = garbage});
  node.feed.Add({.kind = Released::Kind::kObject, .sha256 = "../../etc/passwd"});
  std::string whole =
      MakeObject({{0x00080060, {"CS", "CT"}}}, "PATIENTB", "2.25.1.9", "2.25.2.9", "2.25.3.9");
  REQUIRE_VALUE(std::string cut, node.objects->Put(whole.substr(0, 300)));
  node.feed.Add({.kind = Released::Kind::kObject, .sha256 = cut});
  node.feed.Add({.kind = Released::Kind::kClinicalTable, .sha256 = garbage});
  node.Release("PATIENTB", 2, 2, 2, "MR");
  v1::IndexStatus status = node.Sync();
  CHECK(status.unreadable() == 4);
  CHECK(status.objects() == 2);
  CHECK(status.cursor() == 6);
}

// The name of an object that is not in the store yet.
std::string Announce(Node& node, const std::string& bytes,
                     Released::Kind kind = Released::Kind::kObject) {
  node.feed.Add({.kind = kind, .sha256 = crypto::Sha256Hex(bytes)});
  return crypto::Sha256Hex(bytes);
}

TEST_CASE("indexer: an object that is not there is taken in when it is, and keeps nobody waiting") {
  Node node;
  std::string late =
      MakeObject({{0x00080060, {"CS", "PT"}}}, "PATIENTB", "2.25.1.9", "2.25.2.9", "2.25.3.9");
  Announce(node, late);
  node.Release("PATIENTA", 1, 1, 1, "CT");
  for (int i = 0; i < 2; ++i) {
    v1::IndexStatus status = node.Sync();
    CHECK(status.objects() == 1);
    CHECK(status.unreadable() == 1);
    CHECK(status.cursor() == 2);
  }
  REQUIRE_OK(node.objects->Put(late));
  v1::IndexStatus status = node.Sync();
  CHECK(status.objects() == 2);
  CHECK(status.unreadable() == 0);
  CHECK(status.cursor() == 2);
  CHECK(node.Patients("modality = \"PT\"") == 1);
}

TEST_CASE("indexer: a store that is away stops the indexing and loses nothing") {
  Node node;
  for (int i = 1; i <= 3; ++i) node.Release(absl::StrCat("PATIENT", i), i, i, i, "CT");
  node.Clinical("PATIENT1", {{"stage", "II"}});
  const std::string folder = node.folder / "objects", elsewhere = node.folder / "elsewhere";
  std::filesystem::rename(folder, elsewhere);
  REQUIRE_REASON(node.indexer->Sync(), absl::StatusCode::kUnavailable, "OBJECTS_UNAVAILABLE");
  REQUIRE_VALUE(v1::IndexStatus status, node.indexer->Status());
  CHECK(status.cursor() == 0);
  CHECK(status.unreadable() == 0);
  // The folder in which its volume would be mounted: it is there, and empty.
  std::filesystem::create_directory(folder);
  status = node.Sync();
  CHECK(status.objects() == 0);
  CHECK(status.unreadable() == 4);
  std::filesystem::remove(folder);
  std::filesystem::rename(elsewhere, folder);
  status = node.Sync();
  CHECK(status.objects() == 3);
  CHECK(status.unreadable() == 0);
  CHECK(node.Patients("stage = \"II\"") == 1);
}

TEST_CASE("indexer: of many objects that stay away each is tried again in its turn") {
  Node node;
  std::string late =
      MakeObject({{0x00080060, {"CS", "PT"}}}, "PATIENTB", "2.25.1.9", "2.25.2.9", "2.25.3.9");
  for (int i = 0; i < 1200; ++i) Announce(node, i == 1100 ? late : absl::StrCat("never ", i));
  CHECK(node.Sync().unreadable() == 1200);
  CHECK(node.Sync().unreadable() == 1200);
  REQUIRE_OK(node.objects->Put(late));
  int syncs = 1;
  while (node.Sync().objects() == 0) REQUIRE(++syncs <= 4);
  CHECK(node.Sync().unreadable() == 1199);
}

TEST_CASE("indexer: an object that was damaged is tried again after a start") {
  Node node;
  std::string sha256 = node.Release("PATIENTA", 1, 1, 1, "CT");
  REQUIRE_VALUE(std::string path, node.objects->LocalPath(sha256));
  REQUIRE_VALUE(std::string bytes, base::ReadFile(path));
  REQUIRE_OK(base::WriteFileAtomically(path, "damaged"));
  CHECK(node.Sync().unreadable() == 1);
  // Restored from a backup.
  REQUIRE_OK(base::WriteFileAtomically(path, bytes));
  auto restarted = node.MakeIndexer(Registry::Builtin());
  REQUIRE_OK(restarted->Load());
  REQUIRE_VALUE(v1::IndexStatus status, restarted->Sync());
  CHECK(status.unreadable() == 0);
  CHECK(node.Patients("modality = \"CT\"") == 1);
}

TEST_CASE("indexer: a clinical table that comes late stands where it was released") {
  Node node;
  node.Clinical("PATIENTA", {{"sex", "M"}, {"topography", "C49.2"}});
  const std::string late = "patient_id,sex,stage,grade\r\nPATIENTA,F,I,1\r\n";
  Announce(node, late, Released::Kind::kClinicalTable);
  const std::string empty = "patient_id,sex\r\n";
  Announce(node, empty, Released::Kind::kClinicalTable);
  node.Clinical("PATIENTA", {{"stage", "II"}});
  CHECK(node.Sync().unreadable() == 2);
  CHECK(node.Patients("sex = \"M\" and stage = \"II\"") == 1);
  REQUIRE_OK(node.objects->Put(late));
  REQUIRE_OK(node.objects->Put(empty));
  v1::IndexStatus status = node.Sync();
  CHECK(status.unreadable() == 0);
  CHECK(status.cursor() == 4);
  // More than the table before it said, less than the one behind it.
  CHECK(node.Patients("sex = \"F\" and grade = \"1\" and stage = \"II\" and "
                      "topography = \"C49\"") == 1);
}

TEST_CASE("indexer: its status can be asked for while it works") {
  Node node;
  node.Release("PATIENTA", 1, 1, 1, "CT");
  node.feed.before_list = [&] {
    std::thread other([&] { REQUIRE_OK(node.indexer->Status()); });
    other.join();
  };
  CHECK(node.Sync().objects() == 1);
}

TEST_CASE("indexer: told to stop it ends soon, and what it has taken in is kept") {
  Node node;
  for (int i = 0; i < 500; ++i) Announce(node, absl::StrCat("never ", i));
  node.Release("PATIENTA", 1, 1, 1, "CT");
  int lists = 0;
  node.feed.before_list = [&] {
    if (++lists == 2) node.indexer->Stop();
  };
  REQUIRE_REASON(node.indexer->Sync(), absl::StatusCode::kUnavailable, "SERVICE_STOPPING");
  REQUIRE_VALUE(v1::IndexStatus status, node.indexer->Status());
  CHECK(status.cursor() == 500);
  REQUIRE_REASON(node.indexer->Sync(), absl::StatusCode::kUnavailable, "SERVICE_STOPPING");
  auto restarted = node.MakeIndexer(Registry::Builtin());
  REQUIRE_OK(restarted->Load());
  REQUIRE_VALUE(status, restarted->Sync());
  CHECK(status.objects() == 1);
}

TEST_CASE("indexer: a series stays with its study, and a study with its patient") {
  Node node;
  node.Release("PATIENTA", 1, 1, 1, "CT");
  node.Release("PATIENTB", 1, 2, 2, "CT");  // A's study
  node.Release("PATIENTB", 3, 1, 3, "CT");  // a series of A's study
  v1::IndexStatus status = node.Sync();
  CHECK(status.unreadable() == 2);
  CHECK(status.patients() == 1);
  CHECK(status.studies() == 1);
  CHECK(status.objects() == 1);
}

TEST_CASE("indexer: the number of a patient who went is not given to the next") {
  Node node;
  node.Release("PATIENTA", 1, 1, 1, "CT");
  node.Release("PATIENTB", 1, 2, 2, "CT");  // A's study: nothing of B stays
  node.Release("PATIENTC", 4, 4, 4, "CT");
  CHECK(node.Sync().patients() == 2);
  auto index = node.index.Get();
  auto parsed = query::ParseText("all");
  Bits all = index->Patients(index->Evaluate(query::Bind(*parsed, Registry::Builtin()).root));
  CHECK(all.Test(0));
  CHECK_FALSE(all.Test(1));
  CHECK(all.Test(2));
}

TEST_CASE("indexer: clinical rows add to each other, and say more than a header does") {
  Node node;
  node.Release("PATIENTA", 1, 1, 1, "CT", {{0x00100040, {"CS", "M"}}});
  node.Clinical("PATIENTA", {{"sex", "F"}, {"stage", "III"}});
  node.Sync();
  CHECK(node.Patients("sex = \"F\" and stage = \"III\"") == 1);
  // A later table says nothing of the sex; what it says of the grade is no grade.
  node.Clinical("PATIENTA", {{"stage", "IV"}, {"grade", "nonsense"}});
  node.Sync();
  CHECK(node.Patients("sex = \"F\" and stage = \"IV\"") == 1);
  CHECK(node.Patients("stage = \"III\"") == 0);
}

TEST_CASE("indexer: several rows of a patient in one table are one record, the last value counts") {
  Node node;
  auto table = node.objects->Put(
      "patient_id,sex,topography,stage\r\nPATIENTA,F,C50.4,II\r\nPATIENTB,M,,I\r\n"
      "PATIENTA,,C34.1,\r\nPATIENTA,,,\r\n");
  REQUIRE(table.ok());
  node.feed.Add({.kind = Released::Kind::kClinicalTable, .sha256 = *table});
  node.Sync();
  CHECK(node.Patients("sex = \"F\" and topography = \"C34\" and stage = \"II\"") == 1);
  CHECK(node.Patients("topography = \"C50\"") == 0);
  // Values that say something else are counted; the same value again is none.
  IndexChange change;
  change.kind = IndexChange::Kind::kClinical;
  change.patient_code = "PATIENTA";
  change.clinical = {{"sex", "M"}, {"stage", "II"}, {"grade", "2"}};
  REQUIRE_VALUE(Applied applied, node.store->Apply({change, change}, {}, 9));
  CHECK(applied.replaced == 1);
}

TEST_CASE(
    "indexer: a restart finds everything, a feed that was away is taken up where it stopped") {
  Node node;
  node.Release("PATIENTA", 1, 1, 1, "CT");
  node.Sync();
  node.feed.Fail(true);
  REQUIRE_REASON(node.indexer->Sync(), absl::StatusCode::kUnavailable, "RELEASED_FEED");
  node.feed.Fail(false);
  node.Release("PATIENTB", 2, 2, 2, "CT");
  node.index.Set(IndexBuilder().Build());
  auto restarted = node.MakeIndexer(Registry::Builtin());
  REQUIRE_OK(restarted->Load());
  CHECK(node.Patients("modality = \"CT\"") == 1);
  REQUIRE_OK(restarted->Sync());
  CHECK(node.Patients("modality = \"CT\"") == 2);
}

TEST_CASE("indexer: another registry takes every value anew") {
  Node node;
  node.Release("PATIENTA", 1, 1, 1, "CT", {{0x00181030, {"LO", "breast protocol"}}});
  REQUIRE_OK(node.indexer->Load());
  node.Sync();
  std::string file = node.folder / "more.json";
  REQUIRE_OK(base::WriteFileAtomically(file, R"({"format": "oncomesh-variables/1",
      "codeSystems": [{"name": "P"}],
      "variables": [{"name": "protocol", "level": "series", "type": "code", "codeSystem": "P",
                     "description": "protocol name", "source": {"dicom": "00181030"}}]})"));
  REQUIRE_VALUE(Registry more, Registry::WithFiles({file}));
  auto restarted = node.MakeIndexer(more);
  REQUIRE_OK(restarted->Load());
  REQUIRE_OK(restarted->Sync());
  CHECK(node.Patients("protocol = \"BREAST PROTOCOL\"", more) == 1);
  CHECK(node.Patients("modality = \"CT\"", more) == 1);
}

TEST_CASE("indexer: the real studies are indexed as their files say") {
  std::string data = testing::TestData("sts/node-a");
  if (data.empty()) {
    WARN("no shared test data: the real studies were not indexed");
    return;
  }
  Node node;
  size_t files = 0;
  REQUIRE_VALUE(std::vector<std::string> paths, base::ListFiles(data));
  for (const std::string& path : paths) {
    if (path.size() < 4 || path.substr(path.size() - 4) != ".dcm") continue;
    REQUIRE_VALUE(std::string bytes, base::ReadFile(path));
    REQUIRE_VALUE(std::string sha256, node.objects->Put(bytes));
    node.feed.Add({.kind = Released::Kind::kObject, .sha256 = sha256});
    ++files;
  }
  v1::IndexStatus status = node.Sync();
  CHECK(status.unreadable() == 0);
  CHECK(status.patients() == 6);
  for (const char* modality : {"CT", "MR", "PT", "RTSTRUCT"}) {
    CHECK(node.Patients(absl::StrCat("modality = \"", modality, "\"")) == 6);
  }
  CHECK(node.Patients("patient has (modality = \"CT\") and patient has (modality = \"PT\") and "
                      "body_part = \"EXTREMITY\"") == 6);
  CHECK(files > 100);
}

}  // namespace
}  // namespace oncomesh::catalogue
