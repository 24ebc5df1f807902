// SPDX-License-Identifier: Apache-2.0
// N4 bias field correction (Tustison et al., IEEE TMI 29(6), 2010) with ITK's filter.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "libs/imaging/volume.h"

namespace oncomesh::imaging {

struct N4Options {
  // The field is fitted to every so many-th voxel of an axis, but to no fewer than 32 of it.
  int shrink = 4;
  std::vector<int> iterations = {50, 50, 50, 50};  // at most, per level
  double convergence = 0.001;
  int control_points = 4;  // per axis at the first level; spline order 3 adds three
  // Sets the control points from the distance of two knots at the first level, mm.
  std::optional<double> spline_distance_mm;
};

// Told after each iteration how many of at most how many are done; levels that end early count as
// done. The work ends when the answer is no.
using N4Progress = std::function<bool(size_t done, size_t most)>;

struct N4Result {
  Volume corrected;
  Volume bias_field;  // multiplicative: input / corrected
};

// Corrects `input`; the field is fitted where `mask`, or without one the whole image, is above
// zero, and applies everywhere: before the first and behind the last sample of an axis, by less
// than `shrink` voxels, with the value there. The same input gives the same result, whatever the
// number of cores: the filter is new each time (ITK's starts a second run from the first one's
// lattice) and runs on one thread, by ITK's global default; its global maximum is left alone (below
// the number of work units it would silently drop most of the fitting points). Any thread. Errors:
// INVALID_ARGUMENT (N4_OPTIONS, MASK_OTHER_GRID, GRID_INVALID), FAILED_PRECONDITION (MASK_EMPTY,
// N4_NO_CONTRAST), INTERNAL (N4_FAILED), RESOURCE_EXHAUSTED (OUT_OF_MEMORY), ABORTED (STOPPED).
absl::StatusOr<N4Result> CorrectBiasField(const Volume& input, const Volume* mask,
                                          const N4Options& options,
                                          const N4Progress& progress = nullptr);

// Version of the ITK that computes it, for the record: "5.2.1".
std::string N4EngineVersion();

}  // namespace oncomesh::imaging
