// SPDX-License-Identifier: Apache-2.0
#include "libs/imaging/series_assembly.h"

#include <algorithm>
#include <catch2/catch.hpp>
#include <cmath>
#include <functional>

#include "libs/base/files.h"
#include "libs/imaging/series_files.h"
#include "libs/testing/status_matchers.h"
#include "libs/testing/temporary_folder.h"
#include "libs/testing/test_data.h"

namespace oncomesh::imaging {
namespace {

using dicom::ImageObject;

// Slices 2 mm apart along the normal of a plane, first to last; values are the slice's number.
std::vector<ImageObject> Series(int slices, std::array<double, 6> orientation) {
  Vector3 row = {orientation[0], orientation[1], orientation[2]};
  Vector3 column = {orientation[3], orientation[4], orientation[5]};
  Vector3 normal = Cross(row, column);
  std::vector<ImageObject> out;
  for (int i = 0; i < slices; ++i) {
    ImageObject object;
    object.series_uid = "2.25.1";
    object.modality = "MR";
    object.frame_of_reference_uid = "2.25.2";
    object.rows = 3;
    object.columns = 4;
    dicom::Slice slice;
    slice.orientation = orientation;
    slice.row_spacing = 1.5;
    slice.column_spacing = 0.5;
    for (size_t k = 0; k < 3; ++k) slice.position[k] = 10 + 2 * i * normal[k];
    slice.values.assign(12, static_cast<float>(i));
    slice.values[1] += 0.5f;
    object.slices.push_back(std::move(slice));
    out.push_back(std::move(object));
  }
  return out;
}

constexpr std::array<double, 6> kAxial = {1, 0, 0, 0, 1, 0};
constexpr std::array<double, 6> kSagittal = {0, 1, 0, 0, 0, -1};
constexpr std::array<double, 6> kCoronal = {1, 0, 0, 0, 0, -1};
const double kS = std::sqrt(0.5);
const std::array<double, 6> kOblique = {kS, kS, 0, 0, 0, -1};

TEST_CASE("series: slices make a volume in whatever order and orientation they come") {
  for (const auto& orientation : {kAxial, kSagittal, kCoronal, kOblique}) {
    std::vector<ImageObject> objects = Series(5, orientation);
    std::swap(objects[0], objects[3]);
    std::swap(objects[1], objects[4]);
    REQUIRE_VALUE(ImageSeries series, AssembleSeries(objects));
    const Grid& grid = series.volume.grid;
    REQUIRE(grid.size == std::array<int64_t, 3>{4, 3, 5});
    REQUIRE(grid.spacing[0] == 0.5);
    REQUIRE(grid.spacing[1] == 1.5);
    REQUIRE(grid.spacing[2] == Approx(2));
    for (int i = 0; i < 5; ++i) {
      REQUIRE(series.volume.At(0, 0, i) == static_cast<float>(i));
      REQUIRE(series.volume.At(1, 0, i) == static_cast<float>(i) + 0.5f);
    }
    // The place of a voxel by PS3.3 equation C.7.6.2.1-1.
    Vector3 at = grid.Position({3, 2, 0});
    for (size_t k = 0; k < 3; ++k) {
      REQUIRE(at[k] == Approx(10 + orientation[k] * 0.5 * 3 + orientation[3 + k] * 1.5 * 2));
    }
  }
}

TEST_CASE("series: each fault has its reason") {
  struct Case {
    const char* reason;
    std::function<void(std::vector<ImageObject>&)> harm;
  };
  const Case cases[] = {
      {"SERIES_EMPTY", [](auto& o) { o.clear(); }},
      {"SERIES_MIXED", [](auto& o) { o[2].series_uid = "2.25.9"; }},
      {"SERIES_MIXED", [](auto& o) { o[2].frame_of_reference_uid = "2.25.9"; }},
      {"SERIES_MIXED_MATRIX", [](auto& o) { o[1].rows = 4; }},
      {"SERIES_MIXED_SPACING", [](auto& o) { o[4].slices[0].row_spacing = 1.6; }},
      {"SERIES_MIXED_ORIENTATION", [](auto& o) { o[4].slices[0].orientation = kCoronal; }},
      {"SERIES_MIXED_ORIENTATION",
       [](auto& o) { o[4].slices[0].orientation = {1, 0, 0, 0, -1, 0}; }},
      {"SERIES_DUPLICATE_POSITION",
       [](auto& o) { o[2].slices[0].position = o[1].slices[0].position; }},
      {"SERIES_DUPLICATE_POSITION",
       [](auto& o) {
         o[2].slices[0].position = o[1].slices[0].position;
         o[2].slices[0].position[2] += 0.005;
       }},
      {"SERIES_GAP", [](auto& o) { o.erase(o.begin() + 2); }},
      {"SERIES_UNEVEN_SPACING", [](auto& o) { o[2].slices[0].position[2] += 0.2; }},
      {"SERIES_SHEARED",
       [](auto& o) {
         for (size_t i = 0; i < o.size(); ++i) {
           o[i].slices[0].position[1] += 0.3 * static_cast<double>(i);
         }
       }},
      {"SERIES_UNEVEN_SPACING", [](auto& o) { o.resize(1); }},
  };
  for (const Case& one : cases) {
    std::vector<ImageObject> objects = Series(6, kAxial);
    one.harm(objects);
    REQUIRE_REASON(AssembleSeries(objects), absl::StatusCode::kInvalidArgument, one.reason);
  }
}

TEST_CASE("series: directions within the tolerance give one volume, whatever the order") {
  // Four slices, turned a little against each other about their normal and with pixels a little
  // larger: the volume has the directions and pixels of the first along the normal.
  std::vector<ImageObject> objects = Series(4, kAxial);
  const double turns[] = {0, 8e-4, -1e-4, 5e-4};
  for (size_t i = 0; i < 4; ++i) {
    double c = std::cos(turns[i]), s = std::sin(turns[i]);
    objects[i].slices[0].orientation = {c, s, 0, -s, c, 0};
    objects[i].slices[0].row_spacing *= 1 + turns[i] / 2;
  }
  std::vector<size_t> order = {0, 1, 2, 3};
  do {
    std::vector<ImageObject> some;
    for (size_t i : order) some.push_back(objects[i]);
    REQUIRE_VALUE(ImageSeries series, AssembleSeries(some));
    const Grid& grid = series.volume.grid;
    REQUIRE(grid.direction == Matrix3{{{1, 0, 0}, {0, 1, 0}, {0, 0, 1}}});
    REQUIRE(grid.spacing[1] == 1.5);
    for (int i = 0; i < 4; ++i) REQUIRE(series.volume.At(0, 0, i) == static_cast<float>(i));
  } while (std::next_permutation(order.begin(), order.end()));
  // Two that are too far from each other, though neither is from the one between.
  objects = Series(3, kAxial);
  objects[1].slices[0].orientation = {1, 9e-4, 0, -9e-4, 1, 0};
  objects[2].slices[0].orientation = {1, 1.8e-3, 0, -1.8e-3, 1, 0};
  for (size_t first : {0u, 1u, 2u}) {
    std::vector<ImageObject> some = objects;
    std::swap(some[0], some[first]);
    REQUIRE_REASON(AssembleSeries(some), absl::StatusCode::kInvalidArgument,
                   "SERIES_MIXED_ORIENTATION");
  }
}

TEST_CASE("series: rounding of positions is no fault, one slice takes its thickness") {
  std::vector<ImageObject> objects = Series(6, kAxial);
  objects[3].slices[0].position[2] += 0.009;
  REQUIRE_OK(AssembleSeries(objects));
  objects.resize(1);
  objects[0].slice_thickness_mm = 3.5;
  REQUIRE_VALUE(ImageSeries one, AssembleSeries(objects));
  REQUIRE(one.volume.grid.spacing[2] == 3.5);
  // Some devices write 0 for a spacing they do not know; one they do know comes first.
  objects[0].slice_spacing_mm = 0;
  REQUIRE_VALUE(one, AssembleSeries(objects));
  REQUIRE(one.volume.grid.spacing[2] == 3.5);
  objects[0].slice_spacing_mm = 4;
  REQUIRE_VALUE(one, AssembleSeries(objects));
  REQUIRE(one.volume.grid.spacing[2] == 4);
}

TEST_CASE("series: PET of two doses is refused, the earliest acquisition is kept") {
  std::vector<ImageObject> objects = Series(3, kAxial);
  for (size_t i = 0; i < 3; ++i) {
    objects[i].pet.emplace();
    objects[i].pet->dose_bq = 4e8;
    objects[i].pet->acquisition_date = "20200101";
    objects[i].pet->acquisition_time = i == 1 ? "101500" : "103000";
  }
  REQUIRE_VALUE(ImageSeries series, AssembleSeries(objects));
  REQUIRE(series.pet->acquisition_time == "101500");
  // Frames of one moment: that of the earliest reference time, whatever the order.
  for (auto& object : objects) object.pet->acquisition_time = "101500";
  for (size_t first : {0u, 1u, 2u}) {
    std::vector<ImageObject> some = objects;
    for (size_t i = 0; i < 3; ++i) some[i].pet->frame_reference_ms = 1000.0 * (1.0 + i);
    std::swap(some[0], some[first]);
    REQUIRE_VALUE(ImageSeries frames, AssembleSeries(some));
    REQUIRE(frames.pet->frame_reference_ms == 1000);
  }
  objects[2].pet->dose_bq = 3e8;
  REQUIRE_REASON(AssembleSeries(objects), absl::StatusCode::kInvalidArgument, "SERIES_PET_MIXED");
}

TEST_CASE("series: a folder with other files in it is read, a damaged image in it is not") {
  const std::string sts = testing::TestData("sts/node-a/STS_002/PET");
  if (sts.empty()) {
    WARN("no shared test data: skipped");
    return;
  }
  testing::TemporaryFolder folder;
  REQUIRE_VALUE(std::vector<std::string> paths, base::ListFiles(sts));  // with the structure set
  std::string copy = folder / "copy.dcm", note = folder / "note.txt";
  REQUIRE_VALUE(std::string image, base::ReadFile(paths[0]));
  REQUIRE_OK(base::WriteFileAtomically(copy, image));
  REQUIRE_OK(base::WriteFileAtomically(note, "not an image"));
  paths.push_back(copy);
  paths.push_back(note);
  REQUIRE_VALUE(LoadedSeries loaded, LoadSeries(paths));
  REQUIRE(loaded.series.slices == 48);
  REQUIRE(loaded.sha256.size() == 48);
  REQUIRE(loaded.copies == 1);
  REQUIRE(loaded.other_files == 2);
  REQUIRE_OK(base::WriteFileAtomically(copy, image.substr(0, image.size() - 700)));
  REQUIRE_FALSE(LoadSeries(paths).ok());
}

}  // namespace
}  // namespace oncomesh::imaging
