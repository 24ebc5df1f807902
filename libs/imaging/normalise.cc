// SPDX-License-Identifier: Apache-2.0
#include "libs/imaging/normalise.h"

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "libs/base/error.h"
#include "libs/base/status_macros.h"
#include "libs/imaging/statistics.h"

namespace oncomesh::imaging {
namespace {

using absl::StatusCode;

constexpr char kFormat[] = "oncomesh-normalisation/1";

absl::Status ModelInvalid() {
  return base::Error(StatusCode::kInvalidArgument, "MODEL_INVALID",
                     "the file is not a normalisation model of this program");
}

}  // namespace

absl::StatusOr<NormalisationMethod> ParseNormalisationMethod(absl::string_view name) {
  for (NormalisationMethod method : {NormalisationMethod::kZscore, NormalisationMethod::kMinmax,
                                     NormalisationMethod::kPercentile}) {
    if (name == NormalisationMethodName(method)) return method;
  }
  for (absl::string_view known : {"nyul", "whitestripe", "kde", "histogram"}) {
    if (name == known) {
      return base::Error(StatusCode::kUnimplemented, "METHOD_NOT_AVAILABLE",
                         "this version has no such normalisation; it has zscore, minmax and "
                         "percentile",
                         {{"available", "zscore,minmax,percentile"}});
    }
  }
  return base::Error(StatusCode::kInvalidArgument, "METHOD_UNKNOWN",
                     "a normalisation is zscore, minmax or percentile");
}

const char* NormalisationMethodName(NormalisationMethod method) {
  switch (method) {
    case NormalisationMethod::kMinmax:
      return "minmax";
    case NormalisationMethod::kPercentile:
      return "percentile";
    default:
      return "zscore";
  }
}

absl::StatusOr<NormalisationModel> FitNormalisation(NormalisationMethod method,
                                                    std::vector<float>& values,
                                                    PercentileRange range) {
  NormalisationModel out;
  out.method = method;
  out.values = static_cast<int64_t>(values.size());
  out.lower_percent = range.lower;
  out.upper_percent = range.upper;
  if (!(range.lower >= 0 && range.lower < range.upper && range.upper <= 100)) {
    return base::Error(StatusCode::kInvalidArgument, "PERCENTILES_INVALID",
                       "percentiles ascend between 0 and 100");
  }
  if (!values.empty()) {
    Moments moments = ComputeMoments(values);
    if (method == NormalisationMethod::kZscore) {
      out.shift = moments.mean;
      out.scale = moments.standard_deviation;
    } else if (method == NormalisationMethod::kMinmax) {
      out.shift = moments.minimum;
      out.scale = moments.maximum - moments.minimum;
    } else {
      out.clip_low = Percentile(values, range.lower);
      out.clip_high = Percentile(values, range.upper);
      out.shift = *out.clip_low;
      out.scale = *out.clip_high - *out.clip_low;
    }
  }
  if (values.empty() || !std::isfinite(out.scale) || !(out.scale > 0)) {
    return base::Error(StatusCode::kFailedPrecondition, "NO_CONTRAST",
                       "all values are alike: there is nothing to normalise by");
  }
  return out;
}

void Apply(const NormalisationModel& model, Volume& volume) {
  for (float& voxel : volume.voxels) {
    double value = static_cast<double>(voxel);
    if (model.clip_low && value < *model.clip_low) value = *model.clip_low;
    if (model.clip_high && value > *model.clip_high) value = *model.clip_high;
    voxel = static_cast<float>((value - model.shift) / model.scale);
  }
}

nlohmann::json ToJson(const NormalisationModel& model) {
  nlohmann::json out = {{"format", kFormat},
                        {"method", NormalisationMethodName(model.method)},
                        {"shift", model.shift},
                        {"scale", model.scale},
                        {"values", model.values}};
  if (model.method == NormalisationMethod::kPercentile) {
    out["percentiles"] = {model.lower_percent, model.upper_percent};
    out["clip"] = {*model.clip_low, *model.clip_high};
  }
  return out;
}

absl::StatusOr<NormalisationModel> ParseNormalisationModel(absl::string_view json) {
  auto parsed = nlohmann::json::parse(json.begin(), json.end(), nullptr, false);
  if (!parsed.is_object() || parsed.value("format", nlohmann::json()) != kFormat) {
    return ModelInvalid();
  }
  auto number = [&](const nlohmann::json& value, double& out) {
    if (!value.is_number()) return false;
    out = value.get<double>();
    return std::isfinite(out);
  };
  NormalisationModel out;
  auto method = parsed.find("method");
  if (method == parsed.end() || !method->is_string()) return ModelInvalid();
  ASSIGN_OR_RETURN(out.method, ParseNormalisationMethod(method->get<std::string>()));
  if (!number(parsed.value("shift", nlohmann::json()), out.shift) ||
      !number(parsed.value("scale", nlohmann::json()), out.scale) || !(out.scale > 0)) {
    return ModelInvalid();
  }
  auto values = parsed.find("values");
  if (values != parsed.end() && values->is_number_integer()) out.values = values->get<int64_t>();
  if (out.method == NormalisationMethod::kPercentile) {
    auto pair = [&](const char* name, double& low, double& high) {
      auto found = parsed.find(name);
      return found != parsed.end() && found->is_array() && found->size() == 2 &&
             number((*found)[0], low) && number((*found)[1], high) && low < high;
    };
    double low = 0, high = 0;
    if (!pair("clip", low, high) || !pair("percentiles", out.lower_percent, out.upper_percent)) {
      return ModelInvalid();
    }
    out.clip_low = low;
    out.clip_high = high;
  }
  return out;
}

}  // namespace oncomesh::imaging
