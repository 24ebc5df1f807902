// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <vector>

#include "libs/imaging/grid.h"

namespace oncomesh::imaging {

// An image of numbers on a grid. A mask is a volume of which a voxel belongs to the region when its
// value is at least kInside.
struct Volume {
  Grid grid;
  std::vector<float> voxels;  // grid.voxels() of them, first index fastest

  size_t Offset(int64_t x, int64_t y, int64_t z) const {
    return static_cast<size_t>((z * grid.size[1] + y) * grid.size[0] + x);
  }
  float& At(int64_t x, int64_t y, int64_t z) { return voxels[Offset(x, y, z)]; }
  float At(int64_t x, int64_t y, int64_t z) const { return voxels[Offset(x, y, z)]; }
};

inline constexpr float kInside = 0.5f;

}  // namespace oncomesh::imaging
