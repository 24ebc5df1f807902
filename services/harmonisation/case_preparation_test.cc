// SPDX-License-Identifier: Apache-2.0
#include "services/harmonisation/case_preparation.h"

#include <algorithm>
#include <array>
#include <catch2/catch.hpp>
#include <functional>
#include <nlohmann/json.hpp>

#include "absl/strings/str_cat.h"
#include "libs/base/files.h"
#include "libs/crypto/digest.h"
#include "libs/imaging/small_files.h"
#include "libs/testing/status_matchers.h"
#include "libs/testing/temporary_folder.h"

namespace oncomesh::harmonisation {
namespace {

namespace small = imaging::small;
using phantom::DataSet;

constexpr char kFrame[] = "2.25.7";
constexpr char kCt[] = "2.25.8";
constexpr char kPt[] = "2.25.11";
constexpr char kScout[] = "2.25.12";

// The files of a patient.
class Patient {
 public:
  std::string Add(const std::string& bytes) {
    paths_.push_back(folder_ / absl::StrCat(paths_.size(), ".dcm"));
    REQUIRE_OK(base::WriteFileAtomically(paths_.back(), bytes));
    return bytes;
  }
  // Adds a series and returns its digest as doc/formats/image-sidecar.md says.
  std::string AddSeries(const char* modality, const char* series, int slices,
                        const std::function<void(DataSet&)>& change = nullptr) {
    std::vector<std::string> digests;
    for (int i = 0; i < slices; ++i) {
      DataSet slice = small::Slice(modality, series, kFrame, i);
      if (change) change(slice);
      digests.push_back(crypto::Sha256Hex(Add(slice.EncodeFile())));
    }
    std::sort(digests.begin(), digests.end());
    std::string lines;
    for (const std::string& digest : digests) lines += digest + "\n";
    return crypto::Sha256Hex(lines);
  }
  const std::vector<std::string>& paths() const { return paths_; }

 private:
  testing::TemporaryFolder folder_;
  std::vector<std::string> paths_;
};

CasePlan PlanOf(const std::vector<const char*>& modalities, const char* region = "") {
  CasePlan plan;
  for (const char* modality : modalities) plan.modalities.emplace_back().modality = modality;
  plan.region = region;
  return plan;
}

nlohmann::json Record(const PreparedImage& image) {
  return nlohmann::json::parse(image.sidecar.Document("x", image.volume.grid));
}

TEST_CASE("case: a localiser is no candidate, and it is told that it was left out") {
  Patient patient;
  patient.AddSeries("CT", kCt, 4);
  // Of another plane, as they are.
  const std::string scout = patient.AddSeries("CT", kScout, 2, [](DataSet& slice) {
    slice.Text(0x00080008, "CS", "ORIGINAL\\PRIMARY\\LOCALIZER");
    slice.Decimals(0x00200037, {1, 0, 0, 0, 0, -1});
  });
  REQUIRE_VALUE(PreparedCase prepared, PrepareCase(patient.paths(), PlanOf({"CT"})));
  REQUIRE(prepared.grid.size == std::array<int64_t, 3>{6, 6, 4});
  REQUIRE(prepared.left_out.size() == 1);
  REQUIRE(prepared.left_out[0].modality == "CT");
  REQUIRE(prepared.left_out[0].objects == 2);
  REQUIRE(prepared.left_out[0].why == "localiser");
  REQUIRE(prepared.left_out[0].sha256 == scout);
  const auto step = Record(prepared.images[0])["steps"][0];
  REQUIRE(step["name"] == "assemble");
  REQUIRE(step["parameters"]["leftOut"] ==
          nlohmann::json::parse(
              absl::StrCat(R"([{"sha256": ")", scout, R"(", "objects": 2, "why": "localiser"}])")));

  // Two series of slices are still two.
  patient.AddSeries("CT", "2.25.13", 3);
  REQUIRE_REASON(PrepareCase(patient.paths(), PlanOf({"CT"})),
                 absl::StatusCode::kFailedPrecondition, "CASE_AMBIGUOUS");
  CasePlan named = PlanOf({"CT"});
  named.modalities[0].series_uid = kCt;
  REQUIRE_VALUE(prepared, PrepareCase(patient.paths(), named));
  REQUIRE(prepared.left_out.empty());
  REQUIRE_FALSE(Record(prepared.images[0])["steps"][0]["parameters"].contains("leftOut"));

  Patient only;
  only.AddSeries("CT", kScout, 2, [](DataSet& slice) {
    slice.Text(0x00080008, "CS", "ORIGINAL\\PRIMARY\\LOCALIZER");
  });
  REQUIRE_REASON(PrepareCase(only.paths(), PlanOf({"CT"})), absl::StatusCode::kFailedPrecondition,
                 "CASE_MODALITY_MISSING");
  // Who names it means it.
  named.modalities[0].series_uid = kScout;
  REQUIRE_OK(PrepareCase(only.paths(), named).status());
}

TEST_CASE("case: a region with holes between its slices is refused, two parts are not") {
  auto prepare = [](const std::vector<int>& slices) {
    Patient patient;
    patient.AddSeries("CT", kCt, 7);
    patient.Add(small::StructureSet(slices, kFrame, kCt));
    return PrepareCase(patient.paths(), PlanOf({"CT"}, "GTV"));
  };
  REQUIRE_VALUE(PreparedCase whole, prepare({1, 2, 3}));
  REQUIRE(whole.mask_voxels == 27);
  const auto refused = absl::StatusCode::kFailedPrecondition;
  REQUIRE_REASON(prepare({0, 2, 4, 6}), refused, "ROI_HOLES");
  REQUIRE_REASON(prepare({0, 1, 5, 6}), refused, "ROI_HOLES");
}

TEST_CASE("case: a common grid of more voxels than a node has room for is refused") {
  Patient patient;
  // 240 × 240 × 12 mm: 2400 × 2400 × 120 voxels of 0.1 mm.
  patient.AddSeries("CT", kCt, 4, [](DataSet& slice) { slice.Decimals(0x00280030, {40, 40}); });
  CasePlan plan = PlanOf({"CT"});
  plan.spacing_mm = {0.1, 0.1, 0.1};
  REQUIRE_REASON(PrepareCase(patient.paths(), plan), absl::StatusCode::kInvalidArgument,
                 "GRID_INVALID");
  plan.spacing_mm = {1, 1, 1};
  REQUIRE_OK(PrepareCase(patient.paths(), plan).status());
}

TEST_CASE("case: each image is given away before the next one is made") {
  Patient patient;
  patient.AddSeries("CT", kCt, 7);
  patient.AddSeries("PT", kPt, 5, [](DataSet& slice) { slice.Text(0x00541001, "CS", "GML"); });
  patient.Add(small::StructureSet({1, 2, 3}, kFrame, kCt));
  const CasePlan plan = PlanOf({"CT", "PT"}, "GTV");
  REQUIRE_VALUE(PreparedCase whole, PrepareCase(patient.paths(), plan));
  REQUIRE(whole.images.size() == 2);
  REQUIRE(whole.mask);

  std::vector<PreparedImage> kept;
  auto keep = [&](PreparedImage image) {
    kept.push_back(std::move(image));
    return absl::OkStatus();
  };
  REQUIRE_VALUE(PreparedCase rest, PrepareCase(patient.paths(), plan, keep, nullptr));
  REQUIRE(rest.images.empty());
  REQUIRE_FALSE(rest.mask);
  REQUIRE(rest.mask_voxels == whole.mask_voxels);
  REQUIRE(rest.grid.size == whole.grid.size);
  REQUIRE(kept.size() == 3);
  REQUIRE(kept[0].used_sha256.size() == 7);
  REQUIRE(kept[1].used_sha256.size() == 5);
  REQUIRE(kept[2].used_sha256.size() == 1);
  const PreparedImage* expected[] = {&whole.images[0], &whole.images[1], &*whole.mask};
  for (size_t i = 0; i < 3; ++i) {
    REQUIRE(kept[i].modality == expected[i]->modality);
    REQUIRE(kept[i].volume.voxels == expected[i]->volume.voxels);
    REQUIRE(Record(kept[i]) == Record(*expected[i]));
  }

  // Where it cannot be kept nothing more is made.
  size_t given = 0;
  auto full = [&](const PreparedImage&) {
    ++given;
    return base::Error(absl::StatusCode::kResourceExhausted, "DISK_FULL", "the disk is full");
  };
  REQUIRE_REASON(PrepareCase(patient.paths(), plan, full, nullptr),
                 absl::StatusCode::kResourceExhausted, "DISK_FULL");
  REQUIRE(given == 1);
}

TEST_CASE("case: the record of a mask names all that it was made of") {
  Patient patient;
  const std::string ct = patient.AddSeries("CT", kCt, 4);
  const std::string pt =
      patient.AddSeries("PT", kPt, 5, [](DataSet& slice) { slice.Text(0x00541001, "CS", "GML"); });
  // Drawn on PET, whose grid is not that of the case.
  const std::string regions =
      crypto::Sha256Hex(patient.Add(small::StructureSet({1, 2}, kFrame, kPt)));
  REQUIRE_VALUE(PreparedCase prepared, PrepareCase(patient.paths(), PlanOf({"CT", "PT"}, "GTV")));
  const auto record = Record(*prepared.mask);
  REQUIRE(record["inputs"].size() == 2);
  REQUIRE(record["inputs"][0]["role"] == "regions");
  REQUIRE(record["inputs"][0]["sha256"] == regions);
  REQUIRE(record["inputs"][1]["role"] == "series");
  REQUIRE(record["inputs"][1]["sha256"] == pt);
  REQUIRE(record["inputs"][1]["objects"] == 5);
  REQUIRE(record["steps"][0]["parameters"]["series"] == "PT");
  REQUIRE(record["steps"][1]["parameters"]["grid"] == ct);
}

TEST_CASE("case: bias field correction is for MR, and its record names what computed it") {
  for (const char* modality : {"CT", "PT"}) {
    CasePlan plan = PlanOf({modality});
    plan.modalities[0].bias_field_correction = true;
    REQUIRE_REASON(CheckCasePlan(plan), absl::StatusCode::kInvalidArgument, "CASE_INVALID");
    REQUIRE_REASON(PrepareCase({}, plan), absl::StatusCode::kInvalidArgument, "CASE_INVALID");
  }
  Patient patient;
  patient.AddSeries("MR", "2.25.14", 6);
  CasePlan plan = PlanOf({"MR"});
  plan.modalities[0].bias_field_correction = true;
  REQUIRE_VALUE(PreparedCase prepared, PrepareCase(patient.paths(), plan));
  const auto parameters = Record(prepared.images[0])["steps"][1]["parameters"];
  REQUIRE(parameters["engine"] == "itk");
  REQUIRE(parameters["engineVersion"].get<std::string>().rfind("5.", 0) == 0);
  // Asked for its files, and for each iteration.
  size_t asked = 0;
  REQUIRE_OK(PrepareCase(patient.paths(), plan, [&] { return ++asked > 0; }).status());
  REQUIRE(asked > 14);
  for (size_t last : {1u, 9u, 14u}) {
    asked = 0;
    REQUIRE_REASON(PrepareCase(patient.paths(), plan, [&] { return ++asked < last; }),
                   absl::StatusCode::kAborted, "STOPPED");
  }
}

}  // namespace
}  // namespace oncomesh::harmonisation
