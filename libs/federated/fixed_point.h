// SPDX-License-Identifier: Apache-2.0
// Sums of real vectors that are exact and do not depend on the order of the summands: every value
// is put once on a fixed grid of 2^-scale and added as a 64-bit integer modulo 2^64. It is the one
// primitive under federated averaging, federated statistics, histograms and, later, secure
// aggregation, whose masks live in the same ring.
//
// Grid: q = round-half-even(weight · x · 2^scale), |q| ≤ 2^51. What is larger is saturated and
// counted. 4,095 such summands cannot leave 63 bits. For 32-bit floats and weights below 2^29 the
// product weight · x is exact, so that the one rounding is that onto the grid.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"

namespace oncomesh::federated {

// The largest |q| of one summand.
inline constexpr int kGridBits = 51;
// The most summands of one sum.
inline constexpr int kMaxSummands = 4095;
// The range of scales: 2^scale and 2^-scale are both normal numbers, with room for the products.
inline constexpr int kMinScale = -900;
inline constexpr int kMaxScale = 900;
// The largest weight of a summand.
inline constexpr int64_t kMaxWeight = (int64_t{1} << 40);

// The finest scale at which no |weight · x| ≤ `bound` is saturated; kMaxScale for bound 0.
// Errors: INVALID_ARGUMENT (BOUND_INVALID) when `bound` is negative, NaN or infinite, or so large
// that no scale fits.
absl::StatusOr<int> ScaleFor(double bound);

// The largest |x|; 0 for an empty span. Errors: INVALID_ARGUMENT (UPDATE_NOT_FINITE) when there is
// a NaN or an infinity.
absl::StatusOr<double> MaxMagnitude(absl::Span<const float> values);
absl::StatusOr<double> MaxMagnitude(absl::Span<const double> values);

// A vector of sums. One thread at a time.
class FixedPointSum {
 public:
  // `size` zeros on the grid 2^-scale; kMinScale ≤ scale ≤ kMaxScale.
  FixedPointSum(size_t size, int scale);

  // Adds weight · values. All or nothing. Errors, all INVALID_ARGUMENT: SUM_SIZE when the number of
  // values differs, SUM_WEIGHT when weight is not in 1…kMaxWeight, SUM_FULL beyond kMaxSummands,
  // UPDATE_NOT_FINITE for a NaN or an infinity.
  absl::Status Add(absl::Span<const float> values, int64_t weight = 1);
  absl::Status Add(absl::Span<const double> values, int64_t weight = 1);

  // Takes back a summand that was added with the same weight: afterwards the sum is as if it had
  // never been added, to the bit. Errors as Add; SUM_EMPTY when there is none to take back.
  absl::Status Subtract(absl::Span<const float> values, int64_t weight = 1);
  absl::Status Subtract(absl::Span<const double> values, int64_t weight = 1);

  // Adds another partial sum of the same size and scale. Errors: INVALID_ARGUMENT (SUM_SIZE,
  // SUM_SCALE, SUM_FULL).
  absl::Status Merge(const FixedPointSum& other);

  // The sums, each the float64 nearest to the exact integer sum times 2^-scale.
  std::vector<double> Values() const;
  // The same times `factor`, into `out` of the same size.
  void ScaledValues(double factor, absl::Span<double> out) const;

  absl::Span<const int64_t> raw() const { return sums_; }
  size_t size() const { return sums_.size(); }
  int scale() const { return scale_; }
  int summands() const { return summands_; }
  // How many values were cut to ±2^51 grid steps, over all summands.
  int64_t saturated() const { return saturated_; }

  // Back to zeros, with another size and scale; memory is kept.
  void Reset(size_t size, int scale);

 private:
  template <typename T>
  absl::Status Apply(absl::Span<const T> values, int64_t weight, int sign);

  std::vector<int64_t> sums_;
  int scale_;
  int summands_ = 0;
  int64_t saturated_ = 0;
};

}  // namespace oncomesh::federated
