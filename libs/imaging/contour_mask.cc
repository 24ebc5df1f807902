// SPDX-License-Identifier: Apache-2.0
#include "libs/imaging/contour_mask.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <set>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "libs/base/error.h"
#include "libs/base/status_macros.h"

namespace oncomesh::imaging {
namespace {

using absl::StatusCode;

// How far points of one contour may lie from their common plane, in slices.
constexpr double kFlatness = 0.1;
// How far that plane, or a frame of a segmentation, may be from the plane of a slice, in slices.
constexpr double kOffPlane = 0.1;
// Contours this near to each other, in slices, were drawn in one plane: positions are written with
// few digits.
constexpr double kSamePlane = 0.02;
// Corners this near to each other, in voxels, are the same.
constexpr double kSameCorner = 1e-3;

absl::Status Refused(absl::string_view reason, absl::string_view message) {
  return base::Error(StatusCode::kFailedPrecondition, reason, message);
}

absl::Status Outside() {
  return Refused("ROI_OUTSIDE_SERIES",
                 "contours of the region lie beyond the first or last slice of the series; use the "
                 "series it was drawn on");
}

// Contours further out than this many voxels are on no image.
constexpr double kFarthest = 1e6;

using Point = std::array<double, 2>;  // continuous column and row index
using Polygon = std::vector<Point>;

// The columns at which the line through the centres of row `y` crosses the polygon. An edge counts
// when exactly one of its ends is below the line, so that a corner on it counts once, and that what
// ends on the line has its centres and what begins there has not.
void Cross(const Polygon& polygon, double y, std::vector<double>& crossings) {
  for (size_t i = 0; i < polygon.size(); ++i) {
    const Point& a = polygon[i];
    const Point& b = polygon[(i + 1) % polygon.size()];
    if ((a[1] < y) == (b[1] < y)) continue;
    crossings.push_back(a[0] + (y - a[1]) / (b[1] - a[1]) * (b[0] - a[0]));
  }
}

// The corners in a form that does not depend on where the outline begins, which way round it goes
// and whether its first point is repeated at the end. Equal forms are the same outline.
using Outline = std::vector<std::array<int64_t, 2>>;

// Where the smallest rotation begins. Two candidates are compared; as many corners as they have in
// common, none of the loser's rotations from there can be the smallest, so each corner is looked at
// a fixed number of times, however often corners recur.
size_t LeastRotation(const Outline& outline) {
  const size_t size = outline.size();
  auto corner = [&](size_t i) { return outline[i < size ? i : i - size]; };
  size_t best = 0, other = 1, common = 0;
  while (best < size && other < size && common < size) {
    const auto a = corner(best + common), b = corner(other + common);
    if (a == b) {
      ++common;
      continue;
    }
    (b < a ? best : other) += common + 1;
    if (best == other) ++other;
    common = 0;
  }
  return std::min(best, other);
}

Outline OutlineOf(const Polygon& polygon) {
  Outline out;
  for (const Point& point : polygon) {
    std::array<int64_t, 2> corner = {std::llround(point[0] / kSameCorner),
                                     std::llround(point[1] / kSameCorner)};
    if (out.empty() || out.back() != corner) out.push_back(corner);
  }
  while (out.size() > 1 && out.front() == out.back()) out.pop_back();
  Outline turned(out.rbegin(), out.rend());
  for (Outline* one : {&out, &turned}) {
    std::rotate(one->begin(), one->begin() + static_cast<std::ptrdiff_t>(LeastRotation(*one)),
                one->end());
  }
  return std::min(out, turned);
}

// The contours drawn in one plane, each once.
struct Plane {
  double place;
  std::vector<Polygon> polygons;
  std::set<Outline> outlines;
};

// Adds the voxels inside. What is inside already stays: only contours of one plane make holes.
absl::Status FillSlice(const std::vector<Polygon>& polygons, int64_t slice, const GoOn& go_on,
                       Volume& mask) {
  const int64_t columns = mask.grid.size[0], rows = mask.grid.size[1];
  std::vector<double> crossings;
  for (int64_t y = 0; y < rows; ++y) {
    RETURN_IF_ERROR(CheckGoOn(go_on));
    crossings.clear();
    for (const Polygon& polygon : polygons) {
      Cross(polygon, static_cast<double>(y), crossings);
    }
    std::sort(crossings.begin(), crossings.end());
    for (size_t i = 0; i + 1 < crossings.size(); i += 2) {
      // Centres x with crossings[i] < x <= crossings[i + 1].
      double first = std::max(0.0, std::floor(crossings[i]) + 1);
      double last = std::min(static_cast<double>(columns - 1), std::floor(crossings[i + 1]));
      for (double x = first; x <= last; ++x) {
        mask.At(static_cast<int64_t>(x), y, slice) = 1;
      }
    }
  }
  return absl::OkStatus();
}

// Counts the slices that are missing between drawn ones. Where the insides of the two ends do not
// overlap, the region has two parts.
void CountHoles(const std::set<int64_t>& drawn, MaskResult& result) {
  const auto plane = result.mask.grid.size[0] * result.mask.grid.size[1];
  for (auto upper = drawn.begin(); upper != drawn.end(); ++upper) {
    if (upper == drawn.begin()) continue;
    const int64_t lower = *std::prev(upper);
    if (*upper == lower + 1) continue;
    const float* a = result.mask.voxels.data() + lower * plane;
    const float* b = result.mask.voxels.data() + *upper * plane;
    bool overlap = false;
    for (int64_t i = 0; i < plane && !overlap; ++i) overlap = a[i] == 1 && b[i] == 1;
    if (overlap) result.holes += static_cast<size_t>(*upper - lower - 1);
  }
}

absl::StatusOr<MaskResult> Finish(MaskResult result, const std::set<int64_t>& drawn) {
  CountHoles(drawn, result);
  const Grid& grid = result.mask.grid;
  const size_t plane = static_cast<size_t>(grid.size[0] * grid.size[1]);
  for (int64_t z = 0; z < grid.size[2]; ++z) {
    auto begin = result.mask.voxels.begin() + static_cast<std::ptrdiff_t>(plane) * z;
    auto count = std::count(begin, begin + static_cast<std::ptrdiff_t>(plane), 1.0f);
    result.voxels += static_cast<size_t>(count);
    result.slices += count > 0 ? 1 : 0;
  }
  if (result.voxels == 0) {
    return Refused("ROI_EMPTY", "the region contains the centre of no voxel of the series");
  }
  result.volume_ml = static_cast<double>(result.voxels) * grid.spacing[0] * grid.spacing[1] *
                     grid.spacing[2] / 1000;
  return result;
}

MaskResult EmptyMask(const Grid& grid) {
  MaskResult result;
  result.mask.grid = grid;
  result.mask.voxels.assign(static_cast<size_t>(grid.voxels()), 0.0f);
  return result;
}

}  // namespace

absl::StatusOr<size_t> FindRegion(const std::vector<std::string>& names, absl::string_view wanted) {
  wanted = absl::StripAsciiWhitespace(wanted);
  std::vector<size_t> equal, alike, longer;
  for (size_t i = 0; i < names.size(); ++i) {
    absl::string_view name = absl::StripAsciiWhitespace(names[i]);
    if (name == wanted) equal.push_back(i);
    if (absl::EqualsIgnoreCase(name, wanted)) alike.push_back(i);
    if (!wanted.empty() && name.size() > wanted.size() &&
        absl::StartsWithIgnoreCase(name, wanted) &&
        absl::string_view("_-. ").find(name[wanted.size()]) != absl::string_view::npos) {
      longer.push_back(i);
    }
  }
  for (const std::vector<size_t>& found : {equal, alike, longer}) {
    if (found.size() == 1) return found[0];
    if (found.size() > 1) {
      return base::Error(StatusCode::kInvalidArgument, "ROI_AMBIGUOUS",
                         "more than one region fits the name; give the whole name",
                         {{"candidates", absl::StrCat(found.size())}});
    }
  }
  return base::Error(StatusCode::kNotFound, "ROI_NOT_FOUND",
                     "no region of the object has this name",
                     {{"regions", absl::StrCat(names.size())}});
}

absl::StatusOr<MaskResult> FillContours(const dicom::RegionOfInterest& region, const Grid& grid,
                                        const GoOn& go_on) {
  MaskResult result = EmptyMask(grid);
  std::map<int64_t, std::vector<Plane>> slices;
  for (const dicom::Contour& contour : region.contours) {
    if (contour.type == dicom::Contour::Type::kOther || contour.points.size() < 3) continue;
    RETURN_IF_ERROR(CheckGoOn(go_on));
    Polygon polygon;
    double low = INFINITY, high = -INFINITY;
    for (const auto& point : contour.points) {
      Vector3 index = grid.Index(point);
      if (!(std::abs(index[0]) < kFarthest && std::abs(index[1]) < kFarthest)) return Outside();
      polygon.push_back({index[0], index[1]});
      low = std::min(low, index[2]);
      high = std::max(high, index[2]);
    }
    double place = (low + high) / 2;
    double nearest = std::round(place);
    if (!(nearest >= 0 && nearest < static_cast<double>(grid.size[2]))) return Outside();
    if (!(high - low <= kFlatness && std::abs(place - nearest) <= kOffPlane)) {
      return Refused("ROI_OTHER_PLANE",
                     "contours of the region do not lie in the planes of the series; use the "
                     "series it was drawn on");
    }
    std::vector<Plane>& planes = slices[static_cast<int64_t>(nearest)];
    auto plane = std::find_if(planes.begin(), planes.end(), [&](const Plane& one) {
      return std::abs(one.place - place) <= kSamePlane;
    });
    if (plane == planes.end()) plane = planes.insert(planes.end(), Plane{place, {}, {}});
    if (!plane->outlines.insert(OutlineOf(polygon)).second) continue;
    plane->polygons.push_back(std::move(polygon));
    ++result.contours;
  }
  if (result.contours == 0) {
    return Refused("ROI_EMPTY", "the region has no closed contour");
  }
  std::set<int64_t> drawn;
  for (const auto& [slice, planes] : slices) {
    drawn.insert(slice);
    for (const Plane& plane : planes) {
      RETURN_IF_ERROR(FillSlice(plane.polygons, slice, go_on, result.mask));
    }
  }
  return Finish(std::move(result), drawn);
}

absl::StatusOr<MaskResult> PlaceSegment(const dicom::Segmentation& segmentation, size_t segment,
                                        const Grid& grid, const GoOn& go_on) {
  MaskResult result = EmptyMask(grid);
  std::set<int64_t> slices;
  for (const dicom::Slice& slice : segmentation.segments[segment].slices) {
    RETURN_IF_ERROR(CheckGoOn(go_on));
    Grid frame;
    frame.size = {segmentation.columns, segmentation.rows, 1};
    frame.spacing = {slice.column_spacing, slice.row_spacing, grid.spacing[2]};
    frame.origin = slice.position;
    for (size_t row = 0; row < 3; ++row) {
      frame.direction[row] = {slice.orientation[row], slice.orientation[3 + row], 0};
    }
    // Where the frame's corners fall on the grid: whole steps along the grid's own axes.
    Vector3 first = grid.Index(frame.origin);
    Vector3 right = grid.Index(frame.Position({1, 0, 0}));
    Vector3 down = grid.Index(frame.Position({0, 1, 0}));
    std::array<int64_t, 3> start{};
    for (size_t axis = 0; axis < 3; ++axis) {
      double step_right = right[axis] - first[axis], step_down = down[axis] - first[axis];
      double off = axis == 2 ? kOffPlane : 0.05;
      if (std::abs(step_right - (axis == 0 ? 1 : 0)) > 1e-3 ||
          std::abs(step_down - (axis == 1 ? 1 : 0)) > 1e-3 || !(std::abs(first[axis]) < 1e9) ||
          std::abs(first[axis] - std::round(first[axis])) > off) {
        return Refused("ROI_OTHER_PLANE",
                       "the segmentation does not lie on the grid of the series; use the series "
                       "it was drawn on");
      }
      start[axis] = static_cast<int64_t>(std::round(first[axis]));
    }
    bool drawn = false;
    for (int64_t y = 0; y < segmentation.rows; ++y) {
      for (int64_t x = 0; x < segmentation.columns; ++x) {
        if (slice.values[static_cast<size_t>(y * segmentation.columns + x)] < kInside) continue;
        std::array<int64_t, 3> at = {start[0] + x, start[1] + y, start[2]};
        for (size_t axis = 0; axis < 3; ++axis) {
          if (at[axis] < 0 || at[axis] >= grid.size[axis]) {
            return Refused("ROI_OUTSIDE_SERIES", "the segmentation reaches beyond the series");
          }
        }
        result.mask.At(at[0], at[1], at[2]) = 1;
        drawn = true;
      }
    }
    result.contours += drawn ? 1 : 0;
    if (drawn) slices.insert(start[2]);
  }
  return Finish(std::move(result), slices);
}

}  // namespace oncomesh::imaging
