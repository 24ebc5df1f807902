// SPDX-License-Identifier: Apache-2.0
// What a task works on, computed without a hub: cases of a dataset, the patients set apart, the
// trainer's folder.
#include <unistd.h>

#include <catch2/catch.hpp>
#include <cstdio>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "libs/base/files.h"
#include "libs/crypto/digest.h"
#include "libs/testing/status_matchers.h"
#include "libs/testing/temporary_folder.h"
#include "services/training/case_provider.h"
#include "services/training/trainer_shelf.h"

namespace oncomesh::training {
namespace {

using absl::StatusCode;

TEST_CASE("split: the order is that of the digests, as anyone can compute it") {
  // printf 'oncomesh-split/1sP1' | sha256sum, and so on: P3 59…, P1 …: the least is held out.
  std::vector<PreparedCase> cases;
  for (const char* patient : {"P1", "P1", "P2", "P3"}) {
    cases.push_back({absl::StrCat(patient, "-", cases.size()), patient, ""});
  }
  CHECK(SplitCases(cases, 0, "s", true).size() == 4);
  std::string least, who;
  for (const char* patient : {"P1", "P2", "P3"}) {
    std::string digest = crypto::Sha256Hex(absl::StrCat("oncomesh-split/1s", patient));
    if (least.empty() || digest < least) {
      least = digest;
      who = patient;
    }
  }
  auto held = SplitCases(cases, 0.1, "s", true), rest = SplitCases(cases, 0.1, "s", false);
  CHECK(held.size() + rest.size() == 4);
  for (const auto& entry : held) CHECK(entry.patient == who);
  for (const auto& entry : rest) CHECK(entry.patient != who);
  CHECK(PatientsIn(SplitCases(cases, 0.9, "s", true)) == 2);  // never all
  CHECK(SplitCases({cases[2]}, 0.5, "s", true).empty());
}

TEST_CASE("cases: a study with every modality is one; contours of the patient go along") {
  std::vector<DatasetObject> objects = {{"A", "s1", "CT", "ct1"}, {"A", "s1", "PT", "pt1"},
                                        {"A", "s2", "MR", "mr1"}, {"A", "s2", "RTSTRUCT", "rt"},
                                        {"B", "s3", "CT", "ct2"}, {"B", "s4", "PT", "pt2"},
                                        {"C", "s5", "CT", "ct3"}};
  auto cases = GroupCases(objects, {"CT", "PT"});
  REQUIRE(cases.size() == 2);
  CHECK(cases[0].patient == "A");
  CHECK(cases[0].objects == std::vector<std::string>{"ct1", "pt1", "rt"});
  CHECK(cases[1].patient == "B");  // two studies together have both
  CHECK(cases[1].objects == std::vector<std::string>{"ct2", "pt2"});
  CHECK(GroupCases(objects, {"CT", "MR"}).size() == 1);
  CHECK(GroupCases(objects, {}).empty());
}

TEST_CASE("trainer: the digest of its folder is what sha256sum says, and a link spoils it") {
  testing::TemporaryFolder folder;
  REQUIRE_OK(base::MakeDirectories(folder / "t/sub"));
  REQUIRE_OK(
      base::WriteFileAtomically(folder / "t/trainer.json", R"({"name":"t","command":["true"]})"));
  REQUIRE_OK(base::WriteFileAtomically(folder / "t/sub/b.py", "b"));
  REQUIRE_OK(base::WriteFileAtomically(folder / "t/a b", "a"));
  TrainerShelf shelf(folder.path());
  REQUIRE_VALUE(TrainerPackage package, shelf.Load("t"));
  const std::string command = absl::StrCat(
      "cd ", folder / "t",
      " && find . -type f -printf '%P\\n' | LC_ALL=C sort | xargs -d '\\n' sha256sum | sha256sum");
  FILE* pipe = popen(command.c_str(), "r");
  REQUIRE(pipe != nullptr);
  char line[65] = {};
  REQUIRE(fread(line, 1, 64, pipe) == 64);
  pclose(pipe);
  CHECK(package.digest == std::string(line));
  CHECK(package.command == std::vector<std::string>{"true"});
  CHECK(shelf.Names() == std::vector<std::string>{"t"});
  REQUIRE_REASON(shelf.Load("../t"), StatusCode::kNotFound, "TRAINER_NOT_INSTALLED");
  REQUIRE(symlink("/etc/passwd", (folder / "t/link").c_str()) == 0);
  REQUIRE_REASON(shelf.Load("t"), StatusCode::kFailedPrecondition, "TRAINER_DAMAGED");
}

}  // namespace
}  // namespace oncomesh::training
