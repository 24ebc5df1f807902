// SPDX-License-Identifier: Apache-2.0
#include "libs/imaging/grid.h"

#include <cmath>

#include "absl/strings/str_cat.h"
#include "libs/base/error.h"
#include "libs/base/status_macros.h"

namespace oncomesh::imaging {
namespace {

absl::Status Invalid(absl::string_view why) {
  return base::Error(absl::StatusCode::kInvalidArgument, "GRID_INVALID",
                     absl::StrCat("not a usable voxel grid: ", why));
}

}  // namespace

double Dot(const Vector3& a, const Vector3& b) { return a[0] * b[0] + a[1] * b[1] + a[2] * b[2]; }

Vector3 Cross(const Vector3& a, const Vector3& b) {
  return {a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]};
}

double Length(const Vector3& a) { return std::sqrt(Dot(a, a)); }

Vector3 Grid::Position(const Vector3& index) const {
  Vector3 out = origin;
  for (size_t row = 0; row < 3; ++row) {
    for (size_t axis = 0; axis < 3; ++axis) {
      out[row] += direction[row][axis] * spacing[axis] * index[axis];
    }
  }
  return out;
}

Vector3 Grid::Index(const Vector3& position) const {
  Vector3 out{};
  for (size_t axis = 0; axis < 3; ++axis) {
    for (size_t row = 0; row < 3; ++row) {
      out[axis] += direction[row][axis] * (position[row] - origin[row]);
    }
    out[axis] /= spacing[axis];
  }
  return out;
}

bool SameGrid(const Grid& a, const Grid& b, double tolerance) {
  if (a.size != b.size) return false;
  // The difference is affine in the index: the corners are its extremes.
  for (int corner = 0; corner < 8; ++corner) {
    Vector3 index{};
    for (size_t axis = 0; axis < 3; ++axis) {
      if ((corner >> axis & 1) != 0) index[axis] = static_cast<double>(a.size[axis] - 1);
    }
    Vector3 other = b.Index(a.Position(index));
    for (size_t axis = 0; axis < 3; ++axis) {
      if (!(std::abs(other[axis] - index[axis]) <= tolerance)) return false;
    }
  }
  return true;
}

absl::Status CheckGrid(const Grid& grid) {
  int64_t voxels = 1;
  for (size_t axis = 0; axis < 3; ++axis) {
    if (grid.size[axis] < 1) return Invalid("an axis has no voxels");
    if (grid.size[axis] > kMaxVoxels / voxels) return Invalid("too many voxels");
    voxels *= grid.size[axis];
    if (!std::isfinite(grid.spacing[axis]) || grid.spacing[axis] <= 0) {
      return Invalid("a spacing is not positive");
    }
    if (!std::isfinite(grid.origin[axis])) return Invalid("the origin is not finite");
    for (size_t other = axis; other < 3; ++other) {
      double product = 0;
      for (size_t row = 0; row < 3; ++row) {
        product += grid.direction[row][axis] * grid.direction[row][other];
      }
      if (!(std::abs(product - (axis == other ? 1 : 0)) <= 1e-4)) {
        return Invalid("its axes are not at right angles");
      }
    }
  }
  return absl::OkStatus();
}

absl::StatusOr<Grid> GridWithSpacing(const Grid& grid, const Vector3& spacing,
                                     Alignment alignment) {
  Grid out = grid;
  out.spacing = spacing;
  Vector3 first{};  // of the new grid, as an index of the old one
  for (size_t axis = 0; axis < 3; ++axis) {
    if (!std::isfinite(spacing[axis]) || spacing[axis] <= 0) {
      return Invalid("a spacing is not positive");
    }
    double ratio = spacing[axis] / grid.spacing[axis];
    double exact = static_cast<double>(grid.size[axis]) / ratio;
    // 10 * 3 / 0.3 must not become 101 because 0.3 is not a binary number.
    double count = std::ceil(exact - 1e-6);
    if (!(count < static_cast<double>(kMaxVoxels))) return Invalid("too many voxels");
    out.size[axis] = std::max<int64_t>(1, static_cast<int64_t>(count));
    first[axis] = alignment == Alignment::kCentre
                      ? (static_cast<double>(grid.size[axis] - 1) -
                         static_cast<double>(out.size[axis] - 1) * ratio) /
                            2
                      : (ratio - 1) / 2;
  }
  out.origin = grid.Position(first);
  RETURN_IF_ERROR(CheckGrid(out));
  return out;
}

}  // namespace oncomesh::imaging
