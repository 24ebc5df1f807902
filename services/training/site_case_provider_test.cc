// SPDX-License-Identifier: Apache-2.0
#include "services/training/site_case_provider.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <catch2/catch.hpp>
#include <filesystem>
#include <map>

#include "absl/strings/str_cat.h"
#include "libs/base/error.h"
#include "libs/base/files.h"
#include "libs/base/status_macros.h"
#include "libs/testing/status_matchers.h"
#include "libs/testing/temporary_folder.h"

namespace oncomesh::training {
namespace {

using absl::StatusCode;

// A site with some objects; harmonisation answers as told, else with one image per modality.
class FakeSite final : public SiteServices {
 public:
  explicit FakeSite(objects::ObjectStore& prepared) : prepared_(prepared) {}
  absl::StatusOr<std::string> ListObjects(const std::string&,
                                          std::vector<DatasetObject>& out) override {
    out.insert(out.end(), objects.begin(), objects.end());
    return std::string("digest");
  }
  absl::StatusOr<harmonisation::v1::PrepareCaseResponse> PrepareCase(
      const harmonisation::v1::PrepareCaseRequest& request) override {
    ++asked[request.objects(0)];
    if (auto answer = answers.find(request.objects(0)); answer != answers.end()) {
      RETURN_IF_ERROR(answer->second);
    }
    harmonisation::v1::PrepareCaseResponse response;
    for (const auto& modality : request.modalities()) {
      auto& image = *response.add_images();
      image.set_modality(modality.modality());
      ASSIGN_OR_RETURN(*image.mutable_sha256(), prepared_.Put("volume of " + request.objects(0)));
    }
    return response;
  }
  void Stop() override {}

  std::vector<DatasetObject> objects;
  std::map<std::string, absl::Status> answers;  // by the case's first object
  std::map<std::string, int> asked;

 private:
  objects::ObjectStore& prepared_;
};

struct Site {
  Site() { Start(); }
  // As after the service was started anew.
  void Start() {
    auto opened = objects::OpenFolder(folder / "prepared");
    REQUIRE_OK(opened);
    auto again = objects::OpenFolder(folder / "prepared");
    REQUIRE_OK(again);
    store = *std::move(again);
    auto made = std::make_unique<FakeSite>(*store);
    if (site != nullptr) {
      made->objects = site->objects;
      made->answers = site->answers;
    }
    site = made.get();
    provider = MakeSiteCaseProvider(std::move(made), *std::move(opened), folder / "cases", clock);
  }
  absl::StatusOr<std::vector<PreparedCase>> Prepare() {
    v1::CaseInputs inputs;
    inputs.add_modalities("CT");
    return provider->Prepare({"nodes/north/datasets/sarcoma/versions/1"}, inputs,
                             [] { return true; });
  }
  // Codes of the patients whose cases are there.
  std::vector<std::string> Patients() {
    auto cases = Prepare();
    REQUIRE_OK(cases);
    std::vector<std::string> out;
    for (const PreparedCase& entry : *cases) {
      CHECK(std::filesystem::exists(entry.folder + "/CT.nii.gz"));
      out.push_back(entry.patient);
    }
    return out;
  }

  testing::TemporaryFolder folder;
  base::FakeClock clock;
  std::unique_ptr<objects::ObjectStore> store;
  std::unique_ptr<CaseProvider> provider;
  FakeSite* site = nullptr;
};

using Codes = std::vector<std::string>;

TEST_CASE("site cases: a bad minute of the services beside leaves no case out") {
  for (const absl::Status& trouble :
       {base::Error(StatusCode::kNotFound, "OBJECT_NOT_FOUND", "the volume is not mounted"),
        base::Error(StatusCode::kDataLoss, "OBJECT_CORRUPT", "restore it"),
        base::Error(StatusCode::kUnavailable, "FILE_ERROR", "the disk"),
        absl::UnimplementedError("an older release"), absl::UnavailableError("starting")}) {
    CAPTURE(trouble.ToString());
    Site at;
    at.site->objects = {{"A", "s1", "CT", "a"}, {"B", "s2", "CT", "b"}};
    at.site->answers["b"] = trouble;
    auto refused = at.Prepare();
    REQUIRE_FALSE(refused.ok());
    CHECK(refused.status().code() == trouble.code());
    at.site->answers.clear();
    CHECK(at.Patients() == Codes{"A", "B"});
    CHECK(at.site->asked["a"] == 1);  // what was prepared is kept
  }
}

TEST_CASE("site cases: a fault of a case leaves it out until the next start or day") {
  Site at;
  at.site->objects = {{"A", "s1", "CT", "a"}, {"B", "s2", "CT", "b"}};
  at.site->answers["b"] = base::Error(StatusCode::kInvalidArgument, "SERIES_GAP", "a slice");
  CHECK(at.Patients() == Codes{"A"});
  CHECK(at.Patients() == Codes{"A"});
  CHECK(at.site->asked["b"] == 1);
  at.clock.Advance(absl::Hours(25));
  CHECK(at.Patients() == Codes{"A"});
  CHECK(at.site->asked["b"] == 2);
  at.Start();
  CHECK(at.Patients() == Codes{"A"});
  CHECK(at.site->asked["b"] == 1);
  at.site->answers.clear();  // harmonisation is a release further
  at.Start();
  CHECK(at.Patients() == Codes{"A", "B"});
  CHECK(at.site->asked["a"] == 0);
}

TEST_CASE("site cases: with nothing but faults there is no case") {
  Site at;
  at.site->objects = {{"A", "s1", "CT", "a"}};
  at.site->answers["a"] = base::Error(StatusCode::kNotFound, "ROI_NOT_FOUND", "no such contour");
  REQUIRE_REASON(at.Prepare(), StatusCode::kFailedPrecondition, "CASES_NOT_PREPARED");
}

TEST_CASE("site cases: a patient code that cannot name a folder leaves only its case out") {
  Site at;
  at.site->objects = {{"../../../escaped", "s1", "CT", "a"},
                      {"B", "s2", "CT", "b"},
                      {std::string(60, 'C'), "s3", "CT", "c"}};
  CHECK(at.Patients() == Codes{"B"});
  CHECK(at.site->asked.count("a") == 0);
  CHECK_FALSE(std::filesystem::exists(at.folder / "escaped"));
}

TEST_CASE("site cases: each use sets the time by which unused ones are removed") {
  Site at;
  at.site->objects = {{"A", "s1", "CT", "a"}};
  CHECK(at.Patients() == Codes{"A"});
  std::string used;
  for (const auto& entry : std::filesystem::directory_iterator(at.folder / "cases")) {
    used = entry.path().string();
  }
  const timespec old[2] = {{1'000'000, 0}, {1'000'000, 0}};
  REQUIRE(utimensat(AT_FDCWD, used.c_str(), old, 0) == 0);
  CHECK(at.Patients() == Codes{"A"});
  struct stat info{};
  REQUIRE(stat(used.c_str(), &info) == 0);
  CHECK(info.st_mtim.tv_sec > 1'000'000);
}

}  // namespace
}  // namespace oncomesh::training
