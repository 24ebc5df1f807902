// SPDX-License-Identifier: Apache-2.0
// What a case may be asked to be: the same where a plan is taken in, at the hub, and where a node
// prepares its cases.
#pragma once

#include <cstddef>
#include <cstdint>

#include "absl/strings/string_view.h"

namespace oncomesh::imaging {

inline constexpr size_t kMaxCaseModalities = 8;
inline constexpr size_t kMaxRegionName = 64;
// Between the voxels of the common grid.
inline constexpr double kMinCaseSpacingMm = 0.1;
inline constexpr double kMaxCaseSpacingMm = 100;
// Of the common grid: 1 GiB for each image while it is made.
inline constexpr int64_t kMaxCaseVoxels = int64_t{1} << 28;

inline bool IsCaseModality(absl::string_view modality) {
  return modality == "CT" || modality == "PT" || modality == "MR";
}
inline bool IsCaseSpacing(double mm) { return mm >= kMinCaseSpacingMm && mm <= kMaxCaseSpacingMm; }

}  // namespace oncomesh::imaging
