// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "libs/imaging/volume.h"

namespace oncomesh::imaging {

enum class Interpolator {
  kNearest,   // a centre half-way between two voxels takes the one of higher index
  kLinear,    // trilinear
  kBspline3,  // cubic B-spline through the voxel values, mirrored at the border (Unser 1999)
};

// "nearest", "linear" or "bspline3". Errors: INVALID_ARGUMENT (INTERPOLATOR_UNKNOWN).
absl::StatusOr<Interpolator> ParseInterpolator(absl::string_view name);
const char* InterpolatorName(Interpolator interpolator);

// The values of `input` at the voxel centres of `grid`. A centre up to half a voxel outside the
// outermost centres of `input` is inside the image and takes the border's value (linear) or the
// mirrored spline's; further out it becomes `outside`. No smoothing comes before a coarser grid.
// Parallel grids are resampled axis by axis. Any thread.
// Errors: INVALID_ARGUMENT (GRID_INVALID).
absl::StatusOr<Volume> Resample(const Volume& input, const Grid& grid, Interpolator interpolator,
                                float outside);

// A mask on another grid: linear interpolation, inside from one half on.
absl::StatusOr<Volume> ResampleMask(const Volume& mask, const Grid& grid);

}  // namespace oncomesh::imaging
