// SPDX-License-Identifier: Apache-2.0
// Intensity normalisation by a line: every voxel x, also outside the mask, becomes
// (x − shift) / scale, after clipping where the method clips.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "libs/imaging/volume.h"

namespace oncomesh::imaging {

enum class NormalisationMethod {
  kZscore,      // shift: mean; scale: standard deviation (divisor n)
  kMinmax,      // smallest value → 0, largest → 1
  kPercentile,  // clipped to two percentiles, which become 0 and 1
};

// The names the program knows; the rest of doc/cli.md's are refused with the list of these.
// Errors: UNIMPLEMENTED (METHOD_NOT_AVAILABLE), INVALID_ARGUMENT (METHOD_UNKNOWN).
absl::StatusOr<NormalisationMethod> ParseNormalisationMethod(absl::string_view name);
const char* NormalisationMethodName(NormalisationMethod method);

// What was learnt from one image or from several together, and is applied.
struct NormalisationModel {
  NormalisationMethod method = NormalisationMethod::kZscore;
  double shift = 0;
  double scale = 1;
  std::optional<double> clip_low, clip_high;
  double lower_percent = 1, upper_percent = 99;  // of kPercentile
  int64_t values = 0;                            // it was learnt from
};

struct PercentileRange {
  double lower = 1, upper = 99;
};

// Learns from values of all images, which are reordered.
// Errors: INVALID_ARGUMENT (PERCENTILES_INVALID), FAILED_PRECONDITION (NO_CONTRAST) when all values
// are alike or there are none.
absl::StatusOr<NormalisationModel> FitNormalisation(NormalisationMethod method,
                                                    std::vector<float>& values,
                                                    PercentileRange range = {});
void Apply(const NormalisationModel& model, Volume& volume);

// The model as a file, format "oncomesh-normalisation/1".
// Errors of reading: INVALID_ARGUMENT (MODEL_INVALID).
nlohmann::json ToJson(const NormalisationModel& model);
absl::StatusOr<NormalisationModel> ParseNormalisationModel(absl::string_view json);

}  // namespace oncomesh::imaging
