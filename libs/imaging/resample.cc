// SPDX-License-Identifier: Apache-2.0
#include "libs/imaging/resample.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "libs/base/error.h"
#include "libs/base/status_macros.h"

namespace oncomesh::imaging {
namespace {

// The voxels that one coordinate draws on along one axis, and how much of each.
struct Taps {
  int count = 0;  // 0: outside
  std::array<int64_t, 4> index{};
  std::array<double, 4> weight{};
};

// Reflection about the outermost centres: -1 is 1, n is n - 2.
int64_t Mirror(int64_t index, int64_t size) {
  if (size == 1) return 0;
  const int64_t period = 2 * (size - 1);
  index = std::abs(index) % period;
  return index < size ? index : period - index;
}

Taps TapsAt(double at, int64_t size, Interpolator interpolator) {
  Taps taps;
  const double last = static_cast<double>(size - 1);
  // Coordinates come out of a product of matrices: a border is met to within rounding.
  constexpr double kSlack = 1e-9;
  if (!(at >= -0.5 - kSlack) || at >= last + 0.5 - kSlack) return taps;
  if (interpolator == Interpolator::kNearest) {
    taps.count = 1;
    taps.index[0] =
        std::clamp<int64_t>(static_cast<int64_t>(std::floor(at + 0.5 + kSlack)), 0, size - 1);
    taps.weight[0] = 1;
    return taps;
  }
  if (interpolator == Interpolator::kLinear) {
    at = std::clamp(at, 0.0, last);
    double base = std::floor(at);
    taps.count = 2;
    taps.index[0] = static_cast<int64_t>(base);
    taps.index[1] = std::min(taps.index[0] + 1, size - 1);
    taps.weight[1] = at - base;
    taps.weight[0] = 1 - taps.weight[1];
    // A neighbour that has no weight has no say, not even when it is not a number.
    if (taps.weight[1] == 0) taps.count = 1;
    return taps;
  }
  double base = std::floor(at), t = at - base;
  taps.count = 4;
  for (int64_t i = 0; i < 4; ++i) {
    taps.index[static_cast<size_t>(i)] = Mirror(static_cast<int64_t>(base) - 1 + i, size);
  }
  double u = 1 - t;
  taps.weight = {u * u * u / 6, (3 * t * t * t - 6 * t * t + 4) / 6,
                 (3 * u * u * u - 6 * u * u + 4) / 6, t * t * t / 6};
  return taps;
}

// Values along one axis become the coefficients of the cubic B-spline through them: a causal and an
// anti-causal recursion with the pole √3 − 2 (Unser, IEEE Signal Processing Magazine 16(6), 1999).
void Prefilter(std::vector<double>& line) {
  const size_t n = line.size();
  if (n == 1) return;
  const double pole = std::sqrt(3.0) - 2;
  for (double& value : line) value *= 6;
  // The sum over the mirrored past, cut where it no longer counts.
  const size_t horizon = 28;  // |pole|^28 < 1e-15
  double power = pole;
  if (horizon < n) {
    double sum = line[0];
    for (size_t i = 1; i < horizon; ++i, power *= pole) sum += power * line[i];
    line[0] = sum;
  } else {
    const double inverse = 1 / pole;
    double back = std::pow(pole, static_cast<double>(n - 1));
    double sum = line[0] + back * line[n - 1];
    back *= back * inverse;
    for (size_t i = 1; i + 1 < n; ++i) {
      sum += (power + back) * line[i];
      power *= pole;
      back *= inverse;
    }
    line[0] = sum / (1 - power * power);
  }
  for (size_t i = 1; i < n; ++i) line[i] += pole * line[i - 1];
  line[n - 1] = pole / (pole * pole - 1) * (line[n - 1] + pole * line[n - 2]);
  for (size_t i = n - 1; i-- > 0;) line[i] = pole * (line[i + 1] - line[i]);
}

Volume Coefficients(const Volume& input) {
  Volume out = input;
  const auto& size = input.grid.size;
  const std::array<int64_t, 3> stride = {1, size[0], size[0] * size[1]};
  std::vector<double> line;
  for (size_t axis = 0; axis < 3; ++axis) {
    size_t a = axis == 0 ? 1 : 0, b = axis == 2 ? 1 : 2;
    line.resize(static_cast<size_t>(size[axis]));
    for (int64_t j = 0; j < size[b]; ++j) {
      for (int64_t i = 0; i < size[a]; ++i) {
        float* start = out.voxels.data() + i * stride[a] + j * stride[b];
        for (size_t k = 0; k < line.size(); ++k) {
          line[k] = static_cast<double>(start[static_cast<int64_t>(k) * stride[axis]]);
        }
        Prefilter(line);
        for (size_t k = 0; k < line.size(); ++k) {
          start[static_cast<int64_t>(k) * stride[axis]] = static_cast<float>(line[k]);
        }
      }
    }
  }
  return out;
}

// Index of the input as an affine function of the index of the output.
struct IndexMap {
  Matrix3 step;
  Vector3 start;
};

IndexMap MapBetween(const Grid& input, const Grid& output) {
  IndexMap map;
  map.start = input.Index(output.origin);
  for (size_t axis = 0; axis < 3; ++axis) {
    for (size_t other = 0; other < 3; ++other) {
      double product = 0;
      for (size_t row = 0; row < 3; ++row) {
        product += input.direction[row][axis] * output.direction[row][other];
      }
      map.step[axis][other] = product * output.spacing[other] / input.spacing[axis];
    }
  }
  return map;
}

// True when no index of the output moves another axis of the input by a thousandth of a voxel.
bool IsParallel(const IndexMap& map, const Grid& output) {
  for (size_t axis = 0; axis < 3; ++axis) {
    for (size_t other = 0; other < 3; ++other) {
      if (axis != other &&
          std::abs(map.step[axis][other]) * static_cast<double>(output.size[other]) > 1e-3) {
        return false;
      }
    }
    if (map.step[axis][axis] <= 0) return false;
  }
  return true;
}

// One pass along `axis`: the output has `taps.size()` voxels there and is as it was elsewhere.
Volume Pass(const Volume& input, size_t axis, const std::vector<Taps>& taps) {
  Volume out;
  out.grid.size = input.grid.size;
  out.grid.size[axis] = static_cast<int64_t>(taps.size());
  out.voxels.resize(static_cast<size_t>(out.grid.voxels()));
  const auto& in_size = input.grid.size;
  if (axis == 0) {
    const int64_t lines = in_size[1] * in_size[2];
    for (int64_t line = 0; line < lines; ++line) {
      const float* from = input.voxels.data() + line * in_size[0];
      float* to = out.voxels.data() + line * out.grid.size[0];
      for (size_t i = 0; i < taps.size(); ++i) {
        double sum = 0;
        for (size_t k = 0; k < static_cast<size_t>(taps[i].count); ++k) {
          sum += taps[i].weight[k] * static_cast<double>(from[taps[i].index[k]]);
        }
        to[i] = static_cast<float>(sum);
      }
    }
    return out;
  }
  // Whole rows (axis 1) or planes (axis 2) are added up, so that memory is read in order.
  const int64_t run = axis == 1 ? in_size[0] : in_size[0] * in_size[1];
  const int64_t blocks = axis == 1 ? in_size[2] : 1;
  std::vector<double> sum(static_cast<size_t>(run));
  for (int64_t block = 0; block < blocks; ++block) {
    const float* from = input.voxels.data() + block * run * in_size[axis];
    float* to = out.voxels.data() + block * run * out.grid.size[axis];
    for (size_t i = 0; i < taps.size(); ++i) {
      std::fill(sum.begin(), sum.end(), 0.0);
      for (size_t k = 0; k < static_cast<size_t>(taps[i].count); ++k) {
        const float* line = from + taps[i].index[k] * run;
        const double weight = taps[i].weight[k];
        for (size_t x = 0; x < sum.size(); ++x) sum[x] += weight * static_cast<double>(line[x]);
      }
      float* line = to + static_cast<int64_t>(i) * run;
      for (size_t x = 0; x < sum.size(); ++x) line[x] = static_cast<float>(sum[x]);
    }
  }
  return out;
}

Volume ResampleParallel(const Volume& input, const Grid& grid, const IndexMap& map,
                        Interpolator interpolator, float outside) {
  std::array<std::vector<Taps>, 3> taps;
  for (size_t axis = 0; axis < 3; ++axis) {
    for (int64_t i = 0; i < grid.size[axis]; ++i) {
      double at = map.start[axis] + map.step[axis][axis] * static_cast<double>(i);
      taps[axis].push_back(TapsAt(at, input.grid.size[axis], interpolator));
    }
  }
  // The axis that shrinks most goes first: the later passes then have less to do.
  std::array<size_t, 3> order = {0, 1, 2};
  auto growth = [&](size_t axis) {
    return static_cast<double>(grid.size[axis]) / static_cast<double>(input.grid.size[axis]);
  };
  std::sort(order.begin(), order.end(),
            [&](size_t a, size_t b) { return std::pair(growth(a), a) < std::pair(growth(b), b); });
  Volume out = Pass(input, order[0], taps[order[0]]);
  out = Pass(out, order[1], taps[order[1]]);
  out = Pass(out, order[2], taps[order[2]]);
  out.grid = grid;
  for (int64_t z = 0; z < grid.size[2]; ++z) {
    for (int64_t y = 0; y < grid.size[1]; ++y) {
      const bool out_of_row =
          taps[2][static_cast<size_t>(z)].count == 0 || taps[1][static_cast<size_t>(y)].count == 0;
      for (int64_t x = 0; x < grid.size[0]; ++x) {
        if (out_of_row || taps[0][static_cast<size_t>(x)].count == 0) out.At(x, y, z) = outside;
      }
    }
  }
  return out;
}

Volume ResampleTurned(const Volume& input, const Grid& grid, const IndexMap& map,
                      Interpolator interpolator, float outside) {
  Volume out;
  out.grid = grid;
  out.voxels.resize(static_cast<size_t>(grid.voxels()));
  size_t offset = 0;
  for (int64_t z = 0; z < grid.size[2]; ++z) {
    for (int64_t y = 0; y < grid.size[1]; ++y) {
      for (int64_t x = 0; x < grid.size[0]; ++x, ++offset) {
        std::array<Taps, 3> taps;
        bool inside = true;
        for (size_t axis = 0; axis < 3 && inside; ++axis) {
          double at = map.start[axis] + map.step[axis][0] * static_cast<double>(x) +
                      map.step[axis][1] * static_cast<double>(y) +
                      map.step[axis][2] * static_cast<double>(z);
          taps[axis] = TapsAt(at, input.grid.size[axis], interpolator);
          inside = taps[axis].count > 0;
        }
        if (!inside) {
          out.voxels[offset] = outside;
          continue;
        }
        double sum = 0;
        for (size_t k = 0; k < static_cast<size_t>(taps[2].count); ++k) {
          for (size_t j = 0; j < static_cast<size_t>(taps[1].count); ++j) {
            double row = 0;
            for (size_t i = 0; i < static_cast<size_t>(taps[0].count); ++i) {
              row += taps[0].weight[i] * static_cast<double>(input.At(
                                             taps[0].index[i], taps[1].index[j], taps[2].index[k]));
            }
            sum += taps[2].weight[k] * taps[1].weight[j] * row;
          }
        }
        out.voxels[offset] = static_cast<float>(sum);
      }
    }
  }
  return out;
}

}  // namespace

absl::StatusOr<Interpolator> ParseInterpolator(absl::string_view name) {
  for (Interpolator one :
       {Interpolator::kNearest, Interpolator::kLinear, Interpolator::kBspline3}) {
    if (name == InterpolatorName(one)) return one;
  }
  return base::Error(absl::StatusCode::kInvalidArgument, "INTERPOLATOR_UNKNOWN",
                     "an interpolator is nearest, linear or bspline3");
}

const char* InterpolatorName(Interpolator interpolator) {
  switch (interpolator) {
    case Interpolator::kNearest:
      return "nearest";
    case Interpolator::kBspline3:
      return "bspline3";
    default:
      return "linear";
  }
}

absl::StatusOr<Volume> Resample(const Volume& input, const Grid& grid, Interpolator interpolator,
                                float outside) {
  RETURN_IF_ERROR(CheckGrid(input.grid));
  RETURN_IF_ERROR(CheckGrid(grid));
  IndexMap map = MapBetween(input.grid, grid);
  const bool parallel = IsParallel(map, grid);
  auto run = [&](const Volume& values) {
    return parallel ? ResampleParallel(values, grid, map, interpolator, outside)
                    : ResampleTurned(values, grid, map, interpolator, outside);
  };
  return interpolator == Interpolator::kBspline3 ? run(Coefficients(input)) : run(input);
}

absl::StatusOr<Volume> ResampleMask(const Volume& mask, const Grid& grid) {
  ASSIGN_OR_RETURN(Volume out, Resample(mask, grid, Interpolator::kLinear, 0));
  for (float& value : out.voxels) value = value >= kInside ? 1.0f : 0.0f;
  return out;
}

}  // namespace oncomesh::imaging
