// SPDX-License-Identifier: Apache-2.0
#include "libs/imaging/itk/n4.h"

#include <array>
#include <catch2/catch.hpp>
#include <cmath>
#include <utility>
#include <vector>

#include "libs/testing/status_matchers.h"

namespace oncomesh::imaging {
namespace {

// A ball of two tissues under a known field.
struct Phantom {
  Volume image, mask;
  std::vector<double> log_field;
};

Phantom Body() {
  Phantom out;
  out.image.grid.size = {40, 36, 28};
  out.image.grid.spacing = {2, 2, 3};
  out.mask.grid = out.image.grid;
  for (int z = 0; z < 28; ++z) {
    for (int y = 0; y < 36; ++y) {
      for (int x = 0; x < 40; ++x) {
        double u = x / 19.5 - 1, v = y / 17.5 - 1, w = z / 13.5 - 1;
        bool inside = std::hypot(u, v, w) < 0.95;
        double tissue = std::sin(9 * u) * std::sin(8 * v) > 0 ? 200 : 300;
        double field = 0.3 * u - 0.2 * v + 0.15 * w * w;
        out.image.voxels.push_back(inside ? static_cast<float>(tissue * std::exp(field)) : 0.0f);
        out.mask.voxels.push_back(inside ? 1.0f : 0.0f);
        out.log_field.push_back(field);
      }
    }
  }
  return out;
}

double Correlation(const Phantom& body, const Volume& field) {
  double n = 0, sa = 0, sb = 0, saa = 0, sbb = 0, sab = 0;
  for (size_t i = 0; i < field.voxels.size(); ++i) {
    if (body.mask.voxels[i] == 0) continue;
    double a = std::log(static_cast<double>(field.voxels[i])), b = body.log_field[i];
    n += 1, sa += a, sb += b, saa += a * a, sbb += b * b, sab += a * b;
  }
  return (n * sab - sa * sb) / std::sqrt((n * saa - sa * sa) * (n * sbb - sb * sb));
}

TEST_CASE("n4: finds a field that is known, the same on every run") {
  Phantom body = Body();
  N4Options options;
  options.shrink = 2;
  options.iterations = {20, 20};
  REQUIRE_VALUE(N4Result first, CorrectBiasField(body.image, &body.mask, options));
  REQUIRE(Correlation(body, first.bias_field) > 0.98);
  for (size_t i = 0; i < body.image.voxels.size(); ++i) {
    REQUIRE(first.corrected.voxels[i] * first.bias_field.voxels[i] ==
            Approx(body.image.voxels[i]).epsilon(1e-5));
  }
  REQUIRE_VALUE(N4Result second, CorrectBiasField(body.image, &body.mask, options));
  REQUIRE(second.corrected.voxels == first.corrected.voxels);
  // Without a mask it is fitted above zero, which is the same here.
  REQUIRE_VALUE(N4Result unmasked, CorrectBiasField(body.image, nullptr, options));
  REQUIRE(unmasked.corrected.voxels == first.corrected.voxels);
}

// The slope per voxel of the field's logarithm along an axis, by least squares.
double Slope(const Volume& field, size_t axis) {
  double n = 0, sx = 0, sy = 0, sxx = 0, sxy = 0;
  const auto& size = field.grid.size;
  for (size_t i = 0; i < field.voxels.size(); ++i) {
    auto at = static_cast<int64_t>(i);
    int64_t places[] = {at % size[0], at / size[0] % size[1], at / (size[0] * size[1])};
    auto x = static_cast<double>(places[axis]);
    double y = std::log(static_cast<double>(field.voxels[i]));
    n += 1, sx += x, sy += y, sxx += x * x, sxy += x * y;
  }
  return (n * sxy - sx * sy) / (n * sxx - sx * sx);
}

TEST_CASE("n4: a field has the same slope whatever it was fitted to") {
  // Few slices, and an axis long enough to be made coarser.
  for (auto [size, axis] : {std::pair{std::array<int64_t, 3>{24, 24, 19}, size_t{2}},
                            std::pair{std::array<int64_t, 3>{131, 12, 10}, size_t{0}}}) {
    Volume image;
    image.grid.size = size;
    for (int64_t z = 0; z < size[2]; ++z) {
      for (int64_t y = 0; y < size[1]; ++y) {
        for (int64_t x = 0; x < size[0]; ++x) {
          auto place = static_cast<double>(axis == 2 ? z : x);
          double tissue = (x / 5 + y / 4 + z / 3) % 2 == 0 ? 100 : 300;
          double field = 0.3 * place / static_cast<double>(size[axis] - 1);
          image.voxels.push_back(static_cast<float>(tissue * std::exp(field)));
        }
      }
    }
    N4Options options;
    options.iterations = {20};
    options.convergence = 1e-4;
    options.shrink = 1;
    REQUIRE_VALUE(N4Result whole, CorrectBiasField(image, nullptr, options));
    options.shrink = 4;
    REQUIRE_VALUE(N4Result coarse, CorrectBiasField(image, nullptr, options));
    double wanted = Slope(whole.bias_field, axis);
    INFO("slope " << wanted << " of " << 0.3 / static_cast<double>(size[axis] - 1));
    REQUIRE(wanted == Approx(0.3 / static_cast<double>(size[axis] - 1)).epsilon(0.2));
    REQUIRE(Slope(coarse.bias_field, axis) == Approx(wanted).epsilon(0.03));
  }
}

TEST_CASE("n4: says how far it is, and can be stopped at every iteration") {
  Phantom body = Body();
  N4Options options;
  options.shrink = 2;
  options.iterations = {3, 2};
  options.convergence = 0;  // no level ends early
  std::vector<size_t> told;
  REQUIRE_VALUE(N4Result whole,
                CorrectBiasField(body.image, nullptr, options, [&](size_t done, size_t most) {
                  REQUIRE(most == 5);
                  told.push_back(done);
                  return true;
                }));
  REQUIRE(told == std::vector<size_t>{1, 2, 3, 4, 5});
  REQUIRE_VALUE(N4Result silent, CorrectBiasField(body.image, nullptr, options));
  REQUIRE(silent.corrected.voxels == whole.corrected.voxels);
  for (size_t last : {1u, 4u}) {
    REQUIRE_REASON(CorrectBiasField(body.image, nullptr, options,
                                    [&](size_t done, size_t) { return done < last; }),
                   absl::StatusCode::kAborted, "STOPPED");
  }
  // A level that ends early counts as done.
  options.convergence = 1;
  told.clear();
  REQUIRE_OK(CorrectBiasField(body.image, nullptr, options, [&](size_t done, size_t) {
               told.push_back(done);
               return true;
             }).status());
  REQUIRE(told == std::vector<size_t>{1, 4});
  REQUIRE(N4EngineVersion().rfind("5.", 0) == 0);
}

TEST_CASE("n4: refuses what it cannot correct") {
  Phantom body = Body();
  N4Options options;
  options.iterations = {2};
  const auto invalid = absl::StatusCode::kInvalidArgument;
  const auto refused = absl::StatusCode::kFailedPrecondition;
  Volume other = body.mask;
  other.grid.origin[0] += 5;
  REQUIRE_REASON(CorrectBiasField(body.image, &other, options), invalid, "MASK_OTHER_GRID");
  Volume empty = body.mask;
  for (float& value : empty.voxels) value = 0;
  REQUIRE_REASON(CorrectBiasField(body.image, &empty, options), refused, "MASK_EMPTY");
  REQUIRE_REASON(CorrectBiasField(body.mask, nullptr, options), refused, "N4_NO_CONTRAST");
  options.iterations = {};
  REQUIRE_REASON(CorrectBiasField(body.image, nullptr, options), invalid, "N4_OPTIONS");
  options.iterations = {5};
  options.shrink = 0;
  REQUIRE_REASON(CorrectBiasField(body.image, nullptr, options), invalid, "N4_OPTIONS");
}

}  // namespace
}  // namespace oncomesh::imaging
