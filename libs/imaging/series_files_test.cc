// SPDX-License-Identifier: Apache-2.0
#include "libs/imaging/series_files.h"

#include <catch2/catch.hpp>
#include <functional>

#include "absl/strings/str_cat.h"
#include "libs/base/files.h"
#include "libs/dicom/series_image.h"
#include "libs/imaging/small_files.h"
#include "libs/imaging/suv.h"
#include "libs/testing/status_matchers.h"
#include "libs/testing/temporary_folder.h"

namespace oncomesh::imaging {
namespace {

using phantom::DataSet;

constexpr char kFrame[] = "2.25.7";
constexpr char kSeries[] = "2.25.8";

DataSet Slice(const char* modality, int number) {
  return small::Slice(modality, kSeries, kFrame, number);
}

absl::StatusOr<LoadedSeries> Load(const std::vector<DataSet>& slices, const GoOn& go_on = nullptr) {
  testing::TemporaryFolder folder;
  std::vector<std::string> paths;
  for (const DataSet& slice : slices) {
    paths.push_back(folder / absl::StrCat(paths.size(), ".dcm"));
    REQUIRE_OK(base::WriteFileAtomically(paths.back(), slice.EncodeFile()));
  }
  return LoadSeries(paths, go_on);
}

TEST_CASE("files: a region belongs to a series by its frame of reference or by its reference") {
  REQUIRE_VALUE(LoadedSeries loaded, Load({Slice("CT", 0), Slice("CT", 1)}));
  auto mask = [&](const char* frame, const char* series) {
    return MaskFromObject(small::StructureSet({0, 1}, frame, series), "GTV", loaded.series);
  };
  REQUIRE_VALUE(LoadedMask drawn, mask(kFrame, kSeries));
  REQUIRE(drawn.result.voxels == 18);
  // PET and CT of one examination share a frame: what was drawn on one lies on the other.
  REQUIRE_OK(mask(kFrame, "2.25.99").status());
  REQUIRE_OK(mask("", kSeries).status());
  const auto refused = absl::StatusCode::kFailedPrecondition;
  REQUIRE_REASON(mask("2.25.77", kSeries), refused, "ROI_OTHER_FRAME");
  // Nothing says that they have anything to do with each other.
  REQUIRE_REASON(mask("", "2.25.99"), refused, "ROI_OTHER_FRAME");
  loaded.series.frame_of_reference_uid.clear();
  REQUIRE_OK(mask(kFrame, kSeries).status());
  REQUIRE_REASON(mask(kFrame, "2.25.99"), refused, "ROI_OTHER_FRAME");
}

TEST_CASE("files: reading a series is stopped between its files") {
  int asked = 0;
  REQUIRE_REASON(
      Load({Slice("CT", 0), Slice("CT", 1), Slice("CT", 2)}, [&] { return ++asked < 2; }),
      absl::StatusCode::kAborted, "STOPPED");
  REQUIRE(asked == 2);
}

TEST_CASE("files: uptake of two radiopharmaceuticals is nobody's") {
  auto series = [](size_t drugs) {
    DataSet drug;
    drug.Code(0x00540300, "C-111A1", "SRT", "^18^Fluorine");
    drug.Text(0x00181072, "TM", "140000")
        .Decimals(0x00181074, {4e8})
        .Decimals(0x00181075, {6586.2});
    std::vector<DataSet> slices;
    for (int i : {0, 1}) {
      DataSet slice = Slice("PT", i);
      slice.Text(0x00541001, "CS", "BQML").Text(0x00541102, "CS", "START");
      slice.Text(0x00280051, "CS", "ATTN\\DECY").Decimals(0x00101030, {70});
      slice.Text(0x00080021, "DA", "20200310").Text(0x00080031, "TM", "150000");
      slice.Items(0x00540016, std::vector<DataSet>(drugs, drug));
      slices.push_back(slice);
    }
    REQUIRE_VALUE(LoadedSeries loaded, Load(slices));
    REQUIRE(loaded.series.pet.has_value());
    REQUIRE(loaded.series.pet->nuclide == (drugs > 0 ? "C-111A1" : ""));
    return ComputeSuvFactor(*loaded.series.pet, SuvKind::kBodyWeight);
  };
  // 70,000 g over 400 MBq an hour old: 2^(-3600/6586.2) = 0.68463.
  REQUIRE_VALUE(SuvFactor one, series(1));
  REQUIRE(one.factor == Approx(70000 / (4e8 * 0.68463)).epsilon(1e-4));
  const auto refused = absl::StatusCode::kFailedPrecondition;
  REQUIRE_REASON(series(2), refused, "SUV_DOSE_AMBIGUOUS");
  REQUIRE_REASON(series(0), refused, "SUV_DOSE_MISSING");
}

TEST_CASE("files: a localiser is known by its image type") {
  for (auto [type, localiser] : {std::pair{"ORIGINAL\\PRIMARY\\LOCALIZER", true},
                                 {"ORIGINAL\\PRIMARY\\LOCALIZER\\CT_SOM5 TOP", true},
                                 {"DERIVED\\SECONDARY\\OTHER\\SCOUT", true},
                                 {"ORIGINAL\\PRIMARY\\AXIAL", false},
                                 {"LOCALIZER\\SCOUT", false},
                                 {"ORIGINAL\\PRIMARY\\LOCALIZERS", false},
                                 {"", false}}) {
    DataSet slice = Slice("CT", 0);
    slice.Text(0x00080008, "CS", type);
    REQUIRE_VALUE(dicom::ObjectSummary summary, dicom::Summarise(slice.EncodeFile()));
    CHECK(summary.localiser == localiser);
  }
}

}  // namespace
}  // namespace oncomesh::imaging
