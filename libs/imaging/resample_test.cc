// SPDX-License-Identifier: Apache-2.0
#include "libs/imaging/resample.h"

#include <catch2/catch.hpp>
#include <cmath>
#include <limits>

#include "libs/testing/status_matchers.h"

namespace oncomesh::imaging {
namespace {

template <typename Function>
Volume Sampled(const Grid& grid, Function function) {
  Volume out;
  out.grid = grid;
  for (int64_t z = 0; z < grid.size[2]; ++z) {
    for (int64_t y = 0; y < grid.size[1]; ++y) {
      for (int64_t x = 0; x < grid.size[0]; ++x) {
        out.voxels.push_back(static_cast<float>(function(grid.Position(
            {static_cast<double>(x), static_cast<double>(y), static_cast<double>(z)}))));
      }
    }
  }
  return out;
}

Grid Source() {
  Grid grid;
  grid.size = {24, 20, 16};
  grid.spacing = {1, 1.5, 3};
  grid.origin = {-10, 5, 100};
  return grid;
}

double Ramp(const Vector3& p) { return 2 * p[0] - 3 * p[1] + 0.5 * p[2] + 7; }

TEST_CASE("grid: sizes and places of a new spacing follow the IBSI manual") {
  // The lung CT of IBSI-1, configuration C: 204 × 201 × 60 → 100 × 99 × 90.
  Grid grid;
  grid.size = {204, 201, 60};
  grid.spacing = {0.9765625, 0.9765625, 3};
  REQUIRE_VALUE(Grid two, GridWithSpacing(grid, {2, 2, 2}, Alignment::kCentre));
  REQUIRE(two.size == std::array<int64_t, 3>{100, 99, 90});
  // IBSI-1, figure of section 2.4: 4 voxels of 3 mm to 2 mm are 6 voxels, from −0.5 mm on.
  grid.size = {4, 4, 4};
  grid.spacing = {3, 3, 3};
  REQUIRE_VALUE(two, GridWithSpacing(grid, {2, 2, 2}, Alignment::kCentre));
  REQUIRE(two.size == std::array<int64_t, 3>{6, 6, 6});
  REQUIRE(two.origin[0] == Approx(-0.5));
  // Corners: −1.5 mm is the outer corner of both.
  REQUIRE_VALUE(two, GridWithSpacing(grid, {2, 2, 2}, Alignment::kCorner));
  REQUIRE(two.origin[0] == Approx(-0.5));
  REQUIRE_VALUE(two, GridWithSpacing(grid, {5, 5, 5}, Alignment::kCorner));
  REQUIRE(two.origin[0] == Approx(1));
  REQUIRE_VALUE(two, GridWithSpacing(grid, {5, 5, 5}, Alignment::kCentre));
  REQUIRE(two.origin[0] == Approx(-0.5));  // 3 voxels of 5 mm about the same centre
  // 0.3 is no binary number: 10 · 3 / 0.3 is 100 voxels.
  grid.size = {10, 10, 10};
  REQUIRE_VALUE(two, GridWithSpacing(grid, {0.3, 0.3, 0.3}, Alignment::kCentre));
  REQUIRE(two.size[0] == 100);
  REQUIRE_REASON(GridWithSpacing(grid, {0, 1, 1}, Alignment::kCentre),
                 absl::StatusCode::kInvalidArgument, "GRID_INVALID");
  REQUIRE_REASON(GridWithSpacing(grid, {1e-7, 1, 1}, Alignment::kCentre),
                 absl::StatusCode::kInvalidArgument, "GRID_INVALID");
  REQUIRE_REASON(GridWithSpacing(grid, {NAN, 1, 1}, Alignment::kCentre),
                 absl::StatusCode::kInvalidArgument, "GRID_INVALID");
}

TEST_CASE("resample: onto its own grid an image stays what it is") {
  Volume input = Sampled(Source(), [](const Vector3& p) { return std::sin(p[0] * p[1]); });
  for (Interpolator one : {Interpolator::kNearest, Interpolator::kLinear}) {
    REQUIRE_VALUE(Volume out, Resample(input, input.grid, one, -1));
    REQUIRE(out.voxels == input.voxels);
  }
  REQUIRE_VALUE(Volume spline, Resample(input, input.grid, Interpolator::kBspline3, -1));
  for (size_t i = 0; i < input.voxels.size(); ++i) {
    REQUIRE(spline.voxels[i] == Approx(input.voxels[i]).margin(2e-6));
  }
}

TEST_CASE("resample: linear keeps a ramp and bspline3 a cubic, on straight and turned grids") {
  Grid inner = Source();
  inner.size = {9, 7, 8};
  inner.spacing = {0.8, 1.1, 1.3};
  inner.origin = {-2, 15, 115};
  Grid turned = inner;
  double c = std::cos(0.3), s = std::sin(0.3);
  turned.direction = {{{c, -s, 0}, {s, c, 0}, {0, 0, 1}}};
  Volume ramp = Sampled(Source(), Ramp);
  auto cubic = [](const Vector3& p) {
    double x = (p[0] + 2) / 6;
    return x * x * x - 2 * x * x + x;
  };
  // Wide enough that the mirrored border, which no cubic has, is far away.
  Grid wide = Source();
  wide.size = {64, 8, 8};
  wide.origin = {-34, 12, 112};
  Volume curve = Sampled(wide, cubic);
  for (const Grid& grid : {inner, turned}) {
    REQUIRE_VALUE(Volume linear, Resample(ramp, grid, Interpolator::kLinear, -1));
    Volume expected = Sampled(grid, Ramp);
    for (size_t i = 0; i < expected.voxels.size(); ++i) {
      REQUIRE(linear.voxels[i] == Approx(expected.voxels[i]).margin(1e-4));
    }
    // Beyond the narrow sides of the image is outside: by the grid's own arithmetic, not by what
    // came out.
    expected = Sampled(grid, [&](const Vector3& p) {
      for (size_t axis = 0; axis < 3; ++axis) {
        const double last =
            wide.origin[axis] + static_cast<double>(wide.size[axis] - 1) * wide.spacing[axis];
        const double half = wide.spacing[axis] / 2;
        if (p[axis] < wide.origin[axis] - half || p[axis] >= last + half) return 99.0;
      }
      return cubic(p);
    });
    REQUIRE_VALUE(Volume spline, Resample(curve, grid, Interpolator::kBspline3, 99));
    size_t outside = 0;
    for (size_t i = 0; i < expected.voxels.size(); ++i) {
      REQUIRE(spline.voxels[i] == Approx(expected.voxels[i]).margin(1e-3));
      outside += expected.voxels[i] == 99 ? 1 : 0;
    }
    REQUIRE(outside < expected.voxels.size() / 2);
  }
}

TEST_CASE("resample: half a voxel beyond the border is inside, more is outside") {
  Volume input;
  input.grid.size = {3, 1, 1};
  input.voxels = {10, 20, 30};
  auto at = [&](double place, Interpolator interpolator) {
    Grid grid;
    grid.size = {1, 1, 1};
    grid.origin = {place, 0, 0};
    REQUIRE_VALUE(Volume out, Resample(input, grid, interpolator, -7));
    return static_cast<double>(out.voxels[0]);
  };
  REQUIRE(at(-0.5, Interpolator::kLinear) == 10);
  REQUIRE(at(-0.51, Interpolator::kLinear) == -7);
  REQUIRE(at(2.49, Interpolator::kLinear) == 30);
  REQUIRE(at(2.5, Interpolator::kLinear) == -7);
  REQUIRE(at(1.25, Interpolator::kLinear) == Approx(22.5));
  REQUIRE(at(0.5, Interpolator::kNearest) == 20);
  REQUIRE(at(0.49, Interpolator::kNearest) == 10);
  REQUIRE(at(1.0, Interpolator::kBspline3) == Approx(20));
}

TEST_CASE("resample: a voxel that is not a number stays alone on its own grid") {
  Volume input;
  input.grid.size = {3, 3, 1};
  input.voxels = {1, 2, 3, 4, std::numeric_limits<float>::quiet_NaN(), 6, 7, 8, 9};
  REQUIRE_VALUE(Volume out, Resample(input, input.grid, Interpolator::kLinear, 0));
  for (size_t i = 0; i < 9; ++i) {
    if (i != 4) REQUIRE(out.voxels[i] == input.voxels[i]);
  }
}

TEST_CASE("resample: a mask keeps its volume within a few per cent") {
  Grid grid = Source();
  grid.size = {40, 30, 20};
  Vector3 middle = grid.Position({20, 15, 10});
  Volume mask = Sampled(grid, [&](const Vector3& p) {
    return std::hypot(p[0] - middle[0], p[1] - middle[1], p[2] - middle[2]) < 14 ? 1 : 0;
  });
  double before = 0;
  for (float value : mask.voxels) before += static_cast<double>(value) * 1 * 1.5 * 3;
  REQUIRE_VALUE(Grid two, GridWithSpacing(grid, {2, 2, 2}, Alignment::kCentre));
  REQUIRE_VALUE(Volume out, ResampleMask(mask, two));
  double after = 0;
  for (float value : out.voxels) {
    REQUIRE((value == 0 || value == 1));
    after += static_cast<double>(value) * 8;
  }
  REQUIRE(after == Approx(before).epsilon(0.03));
}

}  // namespace
}  // namespace oncomesh::imaging
