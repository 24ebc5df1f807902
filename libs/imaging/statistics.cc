// SPDX-License-Identifier: Apache-2.0
#include "libs/imaging/statistics.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "libs/base/error.h"
#include "libs/base/status_macros.h"

namespace oncomesh::imaging {
namespace {

// Median absolute deviation from the median.
double MedianDeviation(std::vector<float> values) {
  double median = Percentile(values, 50);
  for (float& value : values) {
    value = static_cast<float>(std::abs(static_cast<double>(value) - median));
  }
  return Percentile(values, 50);
}

double MedianSquare(std::vector<float> values) {
  for (float& value : values) value *= value;
  return Percentile(values, 50);
}

// (1/Emax) Σ (x/b) ln(x/b), b = √Σx², Emax = √N ln(1/√N): 0 when all energy is in one voxel, 1 when
// it is spread evenly.
std::optional<double> EntropyFocus(const std::vector<float>& values) {
  double energy = 0;
  for (float value : values) energy += static_cast<double>(value) * static_cast<double>(value);
  const double root = std::sqrt(static_cast<double>(values.size()));
  if (energy <= 0 || values.size() < 2) return std::nullopt;
  const double b = std::sqrt(energy);
  double sum = 0;
  for (float value : values) {
    double share = std::abs(static_cast<double>(value)) / b;
    sum += share * std::log(share + 1e-16);
  }
  return sum / (root * std::log(1 / root));
}

}  // namespace

absl::StatusOr<std::vector<float>> ValuesInside(const Volume& volume, const Volume* mask) {
  if (mask != nullptr && !SameGrid(volume.grid, mask->grid)) {
    return base::Error(absl::StatusCode::kInvalidArgument, "MASK_OTHER_GRID",
                       "image and mask lie on different grids; resample the mask to the image");
  }
  std::vector<float> values;
  for (size_t i = 0; i < volume.voxels.size(); ++i) {
    if (mask != nullptr && !(mask->voxels[i] >= kInside)) continue;
    if (std::isfinite(volume.voxels[i])) values.push_back(volume.voxels[i]);
  }
  if (values.empty()) {
    return base::Error(absl::StatusCode::kFailedPrecondition, "MASK_EMPTY",
                       "no voxel with a finite value lies in the mask");
  }
  return values;
}

Moments ComputeMoments(const std::vector<float>& values) {
  Moments out;
  out.count = static_cast<int64_t>(values.size());
  auto [low, high] = std::minmax_element(values.begin(), values.end());
  out.minimum = static_cast<double>(*low);
  out.maximum = static_cast<double>(*high);
  double sum = 0;
  for (float value : values) sum += static_cast<double>(value);
  out.mean = sum / static_cast<double>(values.size());
  double squares = 0;
  for (float value : values) {
    double difference = static_cast<double>(value) - out.mean;
    squares += difference * difference;
  }
  out.standard_deviation = std::sqrt(squares / static_cast<double>(values.size()));
  return out;
}

double Percentile(std::vector<float>& values, double percent) {
  double rank = std::clamp(percent, 0.0, 100.0) / 100 * static_cast<double>(values.size() - 1);
  auto lower = static_cast<std::ptrdiff_t>(std::floor(rank));
  std::nth_element(values.begin(), values.begin() + lower, values.end());
  double below = static_cast<double>(values[static_cast<size_t>(lower)]);
  double part = rank - std::floor(rank);
  if (part == 0) return below;
  double above = static_cast<double>(*std::min_element(values.begin() + lower + 1, values.end()));
  return below + part * (above - below);
}

double OtsuThreshold(const std::vector<float>& values) {
  constexpr size_t kBins = 256;
  auto [low, high] = std::minmax_element(values.begin(), values.end());
  const double start = static_cast<double>(*low);
  const double width = (static_cast<double>(*high) - start) / kBins;
  if (!(width > 0)) return start;
  std::array<double, kBins> histogram{};
  for (float value : values) {
    double bin = (static_cast<double>(value) - start) / width;
    histogram[std::min(kBins - 1, static_cast<size_t>(bin))] += 1;
  }
  double total = 0, total_sum = 0;
  for (size_t i = 0; i < kBins; ++i) {
    total += histogram[i];
    total_sum += histogram[i] * static_cast<double>(i);
  }
  double weight = 0, sum = 0, best = -1;
  size_t threshold = 0;
  for (size_t i = 0; i + 1 < kBins; ++i) {
    weight += histogram[i];
    sum += histogram[i] * static_cast<double>(i);
    if (weight == 0 || weight == total) continue;
    double difference = sum / weight - (total_sum - sum) / (total - weight);
    double between = weight * (total - weight) * difference * difference;
    if (between > best) best = between, threshold = i;
  }
  return start + width * static_cast<double>(threshold + 1);
}

absl::StatusOr<Quality> AssessQuality(const Volume& volume, const Volume* mask) {
  Quality out;
  ASSIGN_OR_RETURN(std::vector<float> all, ValuesInside(volume, nullptr));
  out.not_finite = volume.grid.voxels() - static_cast<int64_t>(all.size());
  out.all = ComputeMoments(all);
  out.entropy_focus = EntropyFocus(all);

  std::vector<float> object, background;
  if (mask != nullptr) {
    ASSIGN_OR_RETURN(object, ValuesInside(volume, mask));
    for (size_t i = 0; i < volume.voxels.size(); ++i) {
      if (!(mask->voxels[i] >= kInside) && std::isfinite(volume.voxels[i])) {
        background.push_back(volume.voxels[i]);
      }
    }
  } else {
    double threshold = OtsuThreshold(all);
    for (float value : all) {
      (static_cast<double>(value) >= threshold ? object : background).push_back(value);
    }
  }
  out.p1 = Percentile(all, 1);
  out.p50 = Percentile(all, 50);
  out.p99 = Percentile(all, 99);

  const size_t plane = static_cast<size_t>(volume.grid.size[0] * volume.grid.size[1]);
  for (int64_t z = 0; z < volume.grid.size[2]; ++z) {
    auto begin = volume.voxels.begin() + static_cast<std::ptrdiff_t>(plane) * z;
    auto end = begin + static_cast<std::ptrdiff_t>(plane);
    if (std::all_of(begin, end, [&](float value) { return value == *begin; })) {
      out.constant_slices += 1 / static_cast<double>(volume.grid.size[2]);
    }
  }
  if (object.empty()) object = all;  // an image of one value
  out.object = ComputeMoments(object);
  out.clipped_high = static_cast<double>(std::count(object.begin(), object.end(),
                                                    static_cast<float>(out.all.maximum))) /
                     static_cast<double>(object.size());
  const double n = static_cast<double>(object.size());
  const double spread = out.object.standard_deviation;
  if (n > 1 && spread > 0) out.snr = out.object.mean / (spread * std::sqrt(n / (n - 1)));
  if (!background.empty()) {
    out.background = ComputeMoments(background);
    double deviation = MedianDeviation(background);
    if (deviation > 0) out.snr_dietrich = 0.6551364 * out.object.mean / deviation;
    double noise = std::hypot(spread, out.background->standard_deviation);
    if (noise > 0) out.cnr = std::abs(out.object.mean - out.background->mean) / noise;
    double energy = MedianSquare(background);
    if (energy > 0) out.fber = MedianSquare(object) / energy;
  }
  return out;
}

}  // namespace oncomesh::imaging
