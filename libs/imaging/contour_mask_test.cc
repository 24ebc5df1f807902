// SPDX-License-Identifier: Apache-2.0
#include "libs/imaging/contour_mask.h"

#include <algorithm>
#include <catch2/catch.hpp>
#include <chrono>
#include <cmath>
#include <random>

#include "libs/testing/status_matchers.h"

namespace oncomesh::imaging {
namespace {

using dicom::Contour;

Grid TenByTen() {
  Grid grid;
  grid.size = {10, 10, 4};
  grid.spacing = {1, 1, 2};
  return grid;
}

Contour Outline(std::vector<std::array<double, 2>> points, double z) {
  Contour contour;
  contour.type = Contour::Type::kClosedPlanar;
  for (const auto& point : points) contour.points.push_back({point[0], point[1], z});
  return contour;
}

Contour Square(double low, double high, double z) {
  return Outline({{low, low}, {high, low}, {high, high}, {low, high}}, z);
}

size_t Inside(std::vector<Contour> contours, Grid grid = TenByTen()) {
  dicom::RegionOfInterest region;
  region.contours = std::move(contours);
  REQUIRE_VALUE(MaskResult result, FillContours(region, grid));
  return result.voxels;
}

absl::Status Fault(std::vector<Contour> contours) {
  dicom::RegionOfInterest region;
  region.contours = std::move(contours);
  return FillContours(region, TenByTen()).status();
}

TEST_CASE("contours: a voxel is inside when its centre is") {
  REQUIRE(Inside({Square(1.6, 5.4, 0)}) == 16);  // centres 2, 3, 4, 5
  REQUIRE(Inside({Square(1.4, 5.6, 0)}) == 16);
  REQUIRE(Inside({Square(1.4, 6.1, 0)}) == 25);
  // Reaching beyond the image: what is inside of it counts.
  REQUIRE(Inside({Square(-5, 20, 0)}) == 100);
}

TEST_CASE("contours: an inner contour is a hole, drawn apart or as a keyhole") {
  REQUIRE(Inside({Square(0.5, 7.5, 0), Square(2.5, 5.5, 0)}) == 49 - 9);
  REQUIRE(Inside({Outline({{0.5, 0.5},
                           {7.5, 0.5},
                           {7.5, 7.5},
                           {0.5, 7.5},
                           {0.5, 3.7},
                           {2.5, 3.7},
                           {2.5, 5.5},
                           {5.5, 5.5},
                           {5.5, 2.5},
                           {2.5, 2.5},
                           {2.5, 3.7},
                           {0.5, 3.7}},
                          0)}) == 49 - 9);
  // Two parts, and an island in the hole.
  REQUIRE(Inside({Square(0.5, 2.5, 0), Square(5.5, 8.5, 0)}) == 4 + 9);
  REQUIRE(Inside({Square(0.5, 8.5, 0), Square(1.5, 7.5, 0), Square(3.5, 5.5, 0)}) == 64 - 36 + 4);
}

TEST_CASE("contours: regions that share an edge share no voxel and leave none out") {
  for (double edge : {4.0, 4.3, 4.5}) {
    size_t left = Inside({Outline({{-0.5, -0.5}, {edge, -0.5}, {edge, 9.5}, {-0.5, 9.5}}, 0)});
    size_t right = Inside({Outline({{edge, -0.5}, {9.5, -0.5}, {9.5, 9.5}, {edge, 9.5}}, 0)});
    REQUIRE(left + right == 100);
    size_t below = Inside({Outline({{-0.5, -0.5}, {9.5, -0.5}, {9.5, edge}, {-0.5, edge}}, 0)});
    size_t above = Inside({Outline({{-0.5, edge}, {9.5, edge}, {9.5, 9.5}, {-0.5, 9.5}}, 0)});
    REQUIRE(below + above == 100);
  }
}

TEST_CASE(
    "contours: centres on an edge belong to the side of lower indices, in rows as in columns") {
  // Corners on the centres (1, 1) and (3, 3): what begins there has not, what ends there has.
  dicom::RegionOfInterest region;
  region.contours = {Square(1, 3, 0)};
  REQUIRE_VALUE(MaskResult result, FillContours(region, TenByTen()));
  for (int64_t y = 0; y < 10; ++y) {
    for (int64_t x = 0; x < 10; ++x) {
      const bool inside = (x == 2 || x == 3) && (y == 2 || y == 3);
      INFO("column " << x << ", row " << y);
      CHECK(result.mask.At(x, y, 0) == (inside ? 1 : 0));
    }
  }
  // The same whichever way round it is drawn, also where only a corner is on a centre.
  Contour diamond = Outline({{5, 2}, {8, 5}, {5, 8}, {2, 5}}, 0), turned = diamond;
  std::reverse(turned.points.begin(), turned.points.end());
  region.contours = {diamond};
  REQUIRE_VALUE(result, FillContours(region, TenByTen()));
  region.contours = {turned};
  REQUIRE_VALUE(MaskResult other, FillContours(region, TenByTen()));
  CHECK(result.mask.voxels == other.mask.voxels);
}

TEST_CASE("contours: each lies in a slice, at most a tenth of a slice off") {
  dicom::RegionOfInterest region;
  region.contours = {Square(0.5, 2.5, 0.19), Square(0.5, 2.5, 1.81)};
  REQUIRE_VALUE(MaskResult result, FillContours(region, TenByTen()));
  REQUIRE(result.slices == 2);
  REQUIRE(result.voxels == 8);
  REQUIRE(result.volume_ml == Approx(8 * 2 / 1000.0));
  REQUIRE(result.mask.At(1, 1, 0) == 1);
  REQUIRE(result.mask.At(1, 1, 1) == 1);
  REQUIRE(result.mask.At(1, 1, 2) == 0);
  // The same outline three tenths of a slice away is of another series, and no hole.
  REQUIRE_REASON(Fault({Square(0.5, 7.5, 2), Square(0.5, 7.5, 2.6)}),
                 absl::StatusCode::kFailedPrecondition, "ROI_OTHER_PLANE");
}

TEST_CASE("contours: an outline that is there twice counts once") {
  Contour square = Square(0.5, 7.5, 2);
  Contour rotated = square, reversed = square, closed = square, written = square;
  std::rotate(rotated.points.begin(), rotated.points.begin() + 2, rotated.points.end());
  std::reverse(reversed.points.begin(), reversed.points.end());
  closed.points.push_back(closed.points.front());
  for (auto& point : written.points) point[0] += 4e-4;  // with fewer digits
  for (const Contour& again : {square, rotated, reversed, closed, written}) {
    dicom::RegionOfInterest region;
    region.contours = {square, again, Square(2.5, 5.5, 2)};
    REQUIRE_VALUE(MaskResult result, FillContours(region, TenByTen()));
    REQUIRE(result.voxels == 49 - 9);
    REQUIRE(result.contours == 2);
  }
  // Within a tenth of a slice but not in one plane: both are part of the region, none is a hole.
  REQUIRE(Inside({square, Square(0.5, 7.5, 2.15)}) == 49);
  REQUIRE(Inside({square, Square(2.5, 5.5, 2.15)}) == 49);
  // What is nearly in the same plane is: positions are written with few digits.
  REQUIRE(Inside({square, Square(2.5, 5.5, 2.01)}) == 49 - 9);
}

TEST_CASE("contours: an outline whose least corner recurs takes no time, and is told again") {
  // 200,000 corners of two places by turns: every second one is a least corner. Looking at all
  // corners for each of them would be 10^10 steps.
  Contour zigzag = Outline({}, 0);
  for (int i = 0; i < 100000; ++i) {
    zigzag.points.push_back({1, 1, 0});
    zigzag.points.push_back({5, 5, 0});
  }
  zigzag.points.push_back({5, 1, 0});
  Contour rotated = zigzag;
  std::rotate(rotated.points.begin(), rotated.points.begin() + 77777, rotated.points.end());
  dicom::RegionOfInterest region;
  region.contours = {zigzag, rotated, Square(0.5, 7.5, 0)};
  const auto begin = std::chrono::steady_clock::now();
  REQUIRE_VALUE(MaskResult result, FillContours(region, TenByTen()));
  REQUIRE(std::chrono::steady_clock::now() - begin < std::chrono::seconds(10));
  REQUIRE(result.contours == 2);

  // And it can be stopped, wherever it is.
  for (int after : {0, 1, 3, 8}) {
    int asked = 0;
    REQUIRE_REASON(FillContours(region, TenByTen(), [&] { return asked++ < after; }),
                   absl::StatusCode::kAborted, "STOPPED");
  }
}

TEST_CASE(
    "contours: every rotation and direction of an outline with recurring corners is the same") {
  // Over three corners, so that recurring stretches are common; against every rotation.
  std::mt19937 random(5);
  const std::array<std::array<double, 2>, 3> corners = {{{1, 1}, {6, 2}, {3, 7}}};
  for (int round = 0; round < 60; ++round) {
    std::vector<std::array<double, 2>> points;
    size_t last = 0;
    for (unsigned i = 0, size = 3 + random() % 9; i < size; ++i) {
      last = (last + 1 + random() % 2) % 3;
      points.push_back(corners[last]);
    }
    const Contour drawn = Outline(points, 0);
    for (size_t by = 0; by < points.size(); ++by) {
      for (bool reversed : {false, true}) {
        Contour again = drawn;
        std::rotate(again.points.begin(), again.points.begin() + static_cast<std::ptrdiff_t>(by),
                    again.points.end());
        if (reversed) std::reverse(again.points.begin(), again.points.end());
        dicom::RegionOfInterest region;
        region.contours = {drawn, again, Square(0.5, 7.5, 2)};
        REQUIRE_VALUE(MaskResult result, FillContours(region, TenByTen()));
        REQUIRE(result.contours == 2);
      }
    }
  }
}

TEST_CASE("contours: slices left out between drawn ones are counted, never filled") {
  Grid grid = TenByTen();
  grid.size[2] = 9;
  auto result_of = [&](std::vector<Contour> contours) {
    dicom::RegionOfInterest region;
    region.contours = std::move(contours);
    REQUIRE_VALUE(MaskResult result, FillContours(region, grid));
    return result;
  };
  auto at = [](int slice) { return Square(1.5, 5.5, 2 * slice); };
  REQUIRE(result_of({at(2), at(3), at(4)}).holes == 0);
  REQUIRE(result_of({at(4)}).holes == 0);
  // On every second slice, as some planning systems let one draw: 0, 2, 4, 6.
  MaskResult second = result_of({at(6), at(0), at(2), at(4)});
  REQUIRE(second.holes == 3);
  REQUIRE(second.slices == 4);
  REQUIRE(second.voxels == 4 * 16);
  REQUIRE(result_of({at(0), at(1), at(5), at(6)}).holes == 3);
  // Two parts: what is drawn below and above the gap has no voxel in common.
  REQUIRE(result_of({at(0), at(1), Square(5.6, 8.5, 10), Square(5.6, 8.5, 12)}).holes == 0);
  // Too small for a voxel of its own, but drawn.
  REQUIRE(result_of({at(0), Square(2.1, 2.9, 2), at(2)}).holes == 0);
}

TEST_CASE("contours: on a turned grid too") {
  Grid grid = TenByTen();
  double s = std::sqrt(0.5);
  grid.direction = {{{s, -s, 0}, {s, s, 0}, {0, 0, 1}}};
  grid.origin = {3, -2, 5};
  Contour turned;
  turned.type = Contour::Type::kClosedPlanar;
  for (auto point : {std::array{1.6, 1.6}, {5.4, 1.6}, {5.4, 5.4}, {1.6, 5.4}}) {
    Vector3 at = grid.Position({point[0], point[1], 2});
    turned.points.push_back(at);
  }
  REQUIRE(Inside({turned}, grid) == 16);
}

TEST_CASE("contours: what cannot be a mask has a reason") {
  const auto refused = absl::StatusCode::kFailedPrecondition;
  REQUIRE_REASON(Fault({}), refused, "ROI_EMPTY");
  REQUIRE_REASON(Fault({Square(1.1, 1.2, 0)}), refused, "ROI_EMPTY");
  REQUIRE_REASON(Fault({Square(1, 3, 7.1)}), refused, "ROI_OUTSIDE_SERIES");
  REQUIRE_REASON(Fault({Square(1, 3, -1.1)}), refused, "ROI_OUTSIDE_SERIES");
  Contour tilted = Square(1, 5, 2);
  tilted.points[0][2] = 3;
  REQUIRE_REASON(Fault({tilted}), refused, "ROI_OTHER_PLANE");
  Contour far = Square(1, 5, 2);
  far.points[0][0] = 1e300;
  REQUIRE_REASON(Fault({far}), refused, "ROI_OUTSIDE_SERIES");
  far.points[0] = {1, 1, 1e308};
  REQUIRE_FALSE(Fault({far}).ok());
  Contour open = Square(1, 5, 2);
  open.type = Contour::Type::kOther;
  REQUIRE_REASON(Fault({open}), refused, "ROI_EMPTY");
}

TEST_CASE("regions: found by name, and never by guess") {
  std::vector<std::string> names = {"GTV_Mass_CT", "GTV", "gtv-2", "PTV", "ptv"};
  auto find = [&](const char* wanted) { return FindRegion(names, wanted); };
  REQUIRE(*find("GTV_Mass") == 0);
  REQUIRE(*find("GTV") == 1);
  REQUIRE(*find(" gtv ") == 1);
  REQUIRE(*find("ptv") == 4);
  REQUIRE_REASON(find("Ptv"), absl::StatusCode::kInvalidArgument, "ROI_AMBIGUOUS");
  REQUIRE_REASON(find("GT"), absl::StatusCode::kNotFound, "ROI_NOT_FOUND");
  REQUIRE_REASON(find(""), absl::StatusCode::kNotFound, "ROI_NOT_FOUND");
}

TEST_CASE("segments: frames are put where they say, or refused") {
  dicom::Segmentation segmentation;
  segmentation.rows = 2;
  segmentation.columns = 3;
  segmentation.segments = {{1, "Tumour", {}}};
  dicom::Slice slice;
  slice.orientation = {1, 0, 0, 0, 1, 0};
  slice.row_spacing = slice.column_spacing = 1;
  slice.position = {4, 5, 2};
  slice.values = {1, 0, 0.5f, 0, 0.4f, 1};
  segmentation.segments[0].slices = {slice};
  REQUIRE_VALUE(MaskResult placed, PlaceSegment(segmentation, 0, TenByTen()));
  REQUIRE(placed.voxels == 3);
  REQUIRE(placed.mask.At(4, 5, 1) == 1);
  REQUIRE(placed.mask.At(6, 5, 1) == 1);
  REQUIRE(placed.mask.At(6, 6, 1) == 1);
  auto moved = [&](auto change) {
    dicom::Segmentation other = segmentation;
    change(other.segments[0].slices[0]);
    return PlaceSegment(other, 0, TenByTen()).status();
  };
  const auto refused = absl::StatusCode::kFailedPrecondition;
  REQUIRE_REASON(moved([](auto& s) { s.position[0] = 4.3; }), refused, "ROI_OTHER_PLANE");
  REQUIRE_REASON(moved([](auto& s) { s.row_spacing = 1.1; }), refused, "ROI_OTHER_PLANE");
  // Slices are 2 mm apart: 0.19 mm are less than a tenth of one, 0.9 mm nearly half of one.
  REQUIRE_OK(moved([](auto& s) { s.position[2] = 2.19; }));
  REQUIRE_REASON(moved([](auto& s) { s.position[2] = 2.21; }), refused, "ROI_OTHER_PLANE");
  REQUIRE_REASON(moved([](auto& s) { s.position[2] = 2.9; }), refused, "ROI_OTHER_PLANE");
  REQUIRE_REASON(moved([](auto& s) { s.orientation = {0, 1, 0, 1, 0, 0}; }), refused,
                 "ROI_OTHER_PLANE");
  REQUIRE_REASON(moved([](auto& s) { s.position[0] = 8; }), refused, "ROI_OUTSIDE_SERIES");
  REQUIRE_REASON(moved([](auto& s) { s.position[0] = 1e300; }), refused, "ROI_OTHER_PLANE");
  // Frames on every second slice, and a frame without a voxel of the segment between two.
  dicom::Segmentation sparse = segmentation;
  for (double z : {0.0, 4.0}) {
    sparse.segments[0].slices.push_back(slice);
    sparse.segments[0].slices.back().position[2] = z;
  }
  REQUIRE_VALUE(placed, PlaceSegment(sparse, 0, TenByTen()));
  REQUIRE(placed.holes == 0);
  sparse.segments[0].slices[0].values.assign(6, 0);
  REQUIRE_VALUE(placed, PlaceSegment(sparse, 0, TenByTen()));
  REQUIRE(placed.holes == 1);
}

}  // namespace
}  // namespace oncomesh::imaging
