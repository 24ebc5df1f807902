// SPDX-License-Identifier: Apache-2.0
// Where the voxels of an image are. Coordinates are DICOM's: LPS, millimetres; the first index
// counts along a row of pixels and runs fastest in memory.
#pragma once

#include <array>
#include <cstdint>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace oncomesh::imaging {

using Vector3 = std::array<double, 3>;
using Matrix3 = std::array<Vector3, 3>;  // [row][column]

inline constexpr Matrix3 kIdentity = {{{1, 0, 0}, {0, 1, 0}, {0, 0, 1}}};
// A volume of more voxels (4 GiB of them) is refused.
inline constexpr int64_t kMaxVoxels = int64_t{1} << 30;

double Dot(const Vector3& a, const Vector3& b);
Vector3 Cross(const Vector3& a, const Vector3& b);
double Length(const Vector3& a);

struct Grid {
  std::array<int64_t, 3> size{};  // voxels along each axis
  Vector3 spacing{1, 1, 1};       // mm between voxel centres
  Vector3 origin{};               // centre of the first voxel
  Matrix3 direction = kIdentity;  // column i is the unit vector of axis i; orthonormal

  int64_t voxels() const { return size[0] * size[1] * size[2]; }
  // Continuous index to position, and back. A voxel's centre has a whole index.
  Vector3 Position(const Vector3& index) const;
  Vector3 Index(const Vector3& position) const;
};

// True when every voxel centre of `a` lies within `tolerance` voxels of the same voxel of `b`.
bool SameGrid(const Grid& a, const Grid& b, double tolerance = 1e-3);

// OK when the size is positive and at most kMaxVoxels, the spacing finite and positive, and the
// direction orthonormal to 1e-4. Errors: INVALID_ARGUMENT (GRID_INVALID).
absl::Status CheckGrid(const Grid& grid);

// How a grid of another spacing lies over the old one.
enum class Alignment {
  kCentre,  // the centres of both grids coincide (IBSI)
  kCorner,  // the outer corners of the first voxels coincide
};

// A grid with the directions of `grid` and the new spacing. It has ceil(size * old / new) voxels
// along each axis (IBSI 2.4), so it covers the old one. Errors: INVALID_ARGUMENT (GRID_INVALID).
absl::StatusOr<Grid> GridWithSpacing(const Grid& grid, const Vector3& spacing, Alignment alignment);

}  // namespace oncomesh::imaging
