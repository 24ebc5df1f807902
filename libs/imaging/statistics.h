// SPDX-License-Identifier: Apache-2.0
// Numbers about the voxels of an image.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "absl/status/statusor.h"
#include "libs/imaging/volume.h"

namespace oncomesh::imaging {

// The finite values of `volume`, within `mask` when given. Errors: INVALID_ARGUMENT
// (MASK_OTHER_GRID) when the mask lies on another grid, FAILED_PRECONDITION (MASK_EMPTY) when no
// finite value is left.
absl::StatusOr<std::vector<float>> ValuesInside(const Volume& volume, const Volume* mask);

struct Moments {
  int64_t count = 0;
  double mean = 0;
  double standard_deviation = 0;  // divisor n
  double minimum = 0;
  double maximum = 0;
};
// `values` must not be empty.
Moments ComputeMoments(const std::vector<float>& values);

// Value below which `percent` of the values lie, with linear interpolation between order statistics
// (Hyndman and Fan's type 7, numpy's default). Reorders `values`, which must not be empty.
double Percentile(std::vector<float>& values, double percent);

// Otsu's threshold over 256 bins between the smallest and the largest value.
double OtsuThreshold(const std::vector<float>& values);

// Quality figures of an image. The object is the mask, or without one what Otsu's threshold puts
// above; the background is the rest.
struct Quality {
  Moments all;
  double p1 = 0, p50 = 0, p99 = 0;
  int64_t not_finite = 0;
  double constant_slices = 0;  // fraction of slices of one value only
  double clipped_high = 0;     // fraction of object voxels at the maximum
  Moments object;
  std::optional<Moments> background;
  std::optional<double> snr;            // μ_object / (σ_object √(n/(n−1))), of the object alone
  std::optional<double> snr_dietrich;   // 0.6551364 μ_object / MAD_background
  std::optional<double> cnr;            // |μ_object − μ_background| / √(σ_object² + σ_background²)
  std::optional<double> entropy_focus;  // EFC (Atkinson 1997) relative to its maximum, 0 to 1
  std::optional<double> fber;           // median |object|² / median |background|²
};
// Formulas as in mriqc's qc/anatomical.py. Errors: as ValuesInside.
absl::StatusOr<Quality> AssessQuality(const Volume& volume, const Volume* mask);

}  // namespace oncomesh::imaging
