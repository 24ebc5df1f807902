// SPDX-License-Identifier: Apache-2.0
#include "libs/federated/fixed_point.h"

#include <algorithm>
#include <catch2/catch.hpp>
#include <cmath>
#include <limits>
#include <random>
#include <vector>

#include "libs/testing/status_matchers.h"

namespace oncomesh::federated {
namespace {

constexpr auto kInvalid = absl::StatusCode::kInvalidArgument;

TEST_CASE("fixed point: every order of the summands gives the same bits, where floats do not") {
  std::mt19937_64 random(7);
  std::normal_distribution<float> normal(0.0f, 1.0f);
  std::vector<std::vector<float>> updates(6, std::vector<float>(1000));
  for (size_t k = 0; k < updates.size(); ++k) {
    for (float& x : updates[k]) x = normal(random) * std::pow(10.0f, static_cast<float>(k) - 3);
  }
  REQUIRE_VALUE(int scale, ScaleFor(1e6));
  std::vector<int> order = {0, 1, 2, 3, 4, 5};
  std::vector<int64_t> expected;
  bool floats_differ = false;
  std::vector<float> first_float;
  do {
    FixedPointSum sum(1000, scale);
    std::vector<float> plain(1000, 0.0f);
    for (int k : order) {
      REQUIRE_OK(sum.Add(absl::MakeConstSpan(updates[static_cast<size_t>(k)]), k + 1));
      for (size_t i = 0; i < 1000; ++i) plain[i] += updates[static_cast<size_t>(k)][i];
    }
    if (expected.empty()) {
      expected.assign(sum.raw().begin(), sum.raw().end());
      first_float = plain;
    }
    REQUIRE(std::equal(expected.begin(), expected.end(), sum.raw().begin()));
    floats_differ = floats_differ || plain != first_float;
  } while (std::next_permutation(order.begin(), order.end()));
  CHECK(floats_differ);
}

TEST_CASE("fixed point: every place of a vector is computed as if it stood alone") {
  // One value at a time goes through the plain loop, many through the vector instructions.
  std::mt19937_64 random(11);
  std::uniform_real_distribution<double> exponent(-60, 12), fraction(-1, 1);
  const int scale = 45;
  std::vector<double> wide(4099);
  std::vector<float> narrow(4099);
  for (size_t i = 0; i < wide.size(); ++i) {
    wide[i] = std::ldexp(fraction(random), static_cast<int>(exponent(random)));
    narrow[i] =
        static_cast<float>(std::ldexp(fraction(random), static_cast<int>(exponent(random))));
  }
  FixedPointSum all(wide.size(), scale);
  REQUIRE_OK(all.Add(absl::MakeConstSpan(wide), 3));
  REQUIRE_OK(all.Add(absl::MakeConstSpan(narrow), 12345));
  REQUIRE_OK(all.Subtract(absl::MakeConstSpan(wide), 1));
  int64_t saturated = 0;
  for (size_t i = 0; i < wide.size(); ++i) {
    FixedPointSum one(1, scale);
    REQUIRE_OK(one.Add(absl::MakeConstSpan(&wide[i], 1), 3));
    REQUIRE_OK(one.Add(absl::MakeConstSpan(&narrow[i], 1), 12345));
    REQUIRE_OK(one.Subtract(absl::MakeConstSpan(&wide[i], 1), 1));
    REQUIRE(one.raw()[0] == all.raw()[i]);
    saturated += one.saturated();
  }
  CHECK(saturated > 0);
  CHECK(all.saturated() == saturated);
}

TEST_CASE("fixed point: sums of numbers that the grid holds are exact") {
  // Whole numbers and eighths: every float64 sum below is exact, so it is the oracle.
  FixedPointSum sum(3, 3);
  REQUIRE_OK(sum.Add(std::vector<double>{1.125, -7, 1e12}, 3));
  REQUIRE_OK(sum.Add(std::vector<float>{0.25f, 0.5f, -0.125f}, 2));
  CHECK(sum.Values() == std::vector<double>{3.875, -20, 3e12 - 0.25});
  CHECK(sum.saturated() == 0);
}

TEST_CASE("fixed point: a value between two steps goes to the nearer, a tie to the even one") {
  FixedPointSum sum(6, 0);
  REQUIRE_OK(sum.Add(std::vector<double>{0.4, 0.5, 0.6, 1.5, 2.5, -0.5}));
  CHECK(sum.Values() == std::vector<double>{0, 0, 1, 2, 2, 0});
}

TEST_CASE("fixed point: a summand taken back leaves no trace") {
  REQUIRE_VALUE(int scale, ScaleFor(100.0));
  std::mt19937_64 random(3);
  std::uniform_real_distribution<double> uniform(-10, 10);
  std::vector<double> a(257), b(257);
  for (size_t i = 0; i < a.size(); ++i) {
    a[i] = uniform(random);
    b[i] = uniform(random);
  }
  FixedPointSum once(257, scale), both(257, scale);
  REQUIRE_OK(once.Add(absl::MakeConstSpan(a), 7));
  REQUIRE_OK(both.Add(absl::MakeConstSpan(b), 5));
  REQUIRE_OK(both.Add(absl::MakeConstSpan(a), 7));
  REQUIRE_OK(both.Subtract(absl::MakeConstSpan(b), 5));
  CHECK(std::equal(once.raw().begin(), once.raw().end(), both.raw().begin()));
  CHECK(both.summands() == 1);
  FixedPointSum empty(257, scale);
  REQUIRE_REASON(empty.Subtract(absl::MakeConstSpan(a)), kInvalid, "SUM_EMPTY");
}

TEST_CASE("fixed point: what exceeds the bound is cut and counted") {
  REQUIRE_VALUE(int scale, ScaleFor(4.0));
  CHECK(scale == 49);
  FixedPointSum sum(5, scale);
  REQUIRE_OK(sum.Add(std::vector<double>{4.0, -4.0, 4.5, -1e300, 1.0}));
  CHECK(sum.Values() == std::vector<double>{4.0, -4.0, 4.0, -4.0, 1.0});
  CHECK(sum.saturated() == 2);
}

TEST_CASE("fixed point: NaN and infinity are refused and nothing is added") {
  FixedPointSum sum(4, 10);
  REQUIRE_OK(sum.Add(std::vector<float>{1, 2, 3, 4}));
  for (double bad :
       {std::numeric_limits<double>::quiet_NaN(), std::numeric_limits<double>::infinity(),
        -std::numeric_limits<double>::infinity()}) {
    REQUIRE_REASON(sum.Add(std::vector<double>{1, 1, 1, bad}), kInvalid, "UPDATE_NOT_FINITE");
    REQUIRE_REASON(sum.Add(std::vector<float>{static_cast<float>(bad), 1, 1, 1}), kInvalid,
                   "UPDATE_NOT_FINITE");
  }
  CHECK(sum.Values() == std::vector<double>{1, 2, 3, 4});
  CHECK(sum.summands() == 1);
}

TEST_CASE("fixed point: the most summands of the largest size do not overflow") {
  FixedPointSum sum(1, 0);
  const double largest = std::ldexp(1.0, kGridBits);
  for (int i = 0; i < kMaxSummands; ++i) REQUIRE_OK(sum.Add(std::vector<double>{largest}));
  CHECK(sum.raw()[0] == int64_t{kMaxSummands} << kGridBits);
  REQUIRE_REASON(sum.Add(std::vector<double>{1}), kInvalid, "SUM_FULL");
}

TEST_CASE("fixed point: parts summed apart and merged equal the whole") {
  REQUIRE_VALUE(int scale, ScaleFor(8.0));
  FixedPointSum left(2, scale), right(2, scale), whole(2, scale);
  std::vector<double> a = {0.1, 0.2}, b = {0.3, -0.7}, c = {1.0 / 3, 5};
  REQUIRE_OK(left.Add(absl::MakeConstSpan(a)));
  REQUIRE_OK(right.Add(absl::MakeConstSpan(b)));
  REQUIRE_OK(right.Add(absl::MakeConstSpan(c)));
  for (const auto& x : {c, a, b}) REQUIRE_OK(whole.Add(absl::MakeConstSpan(x)));
  REQUIRE_OK(left.Merge(right));
  CHECK(std::equal(whole.raw().begin(), whole.raw().end(), left.raw().begin()));
  REQUIRE_REASON(left.Merge(FixedPointSum(2, scale + 1)), kInvalid, "SUM_SCALE");
  REQUIRE_REASON(left.Merge(FixedPointSum(3, scale)), kInvalid, "SUM_SIZE");
}

TEST_CASE("fixed point: wrong sizes, weights and bounds are refused") {
  FixedPointSum sum(2, 0);
  REQUIRE_REASON(sum.Add(std::vector<double>{1}), kInvalid, "SUM_SIZE");
  REQUIRE_REASON(sum.Add(std::vector<double>{1, 2}, 0), kInvalid, "SUM_WEIGHT");
  REQUIRE_REASON(sum.Add(std::vector<double>{1, 2}, kMaxWeight + 1), kInvalid, "SUM_WEIGHT");
  REQUIRE_REASON(ScaleFor(-1), kInvalid, "BOUND_INVALID");
  REQUIRE_REASON(ScaleFor(std::nan("")), kInvalid, "BOUND_INVALID");
  REQUIRE_REASON(ScaleFor(std::numeric_limits<double>::infinity()), kInvalid, "BOUND_INVALID");
  REQUIRE_REASON(ScaleFor(1e300), kInvalid, "BOUND_INVALID");
  REQUIRE_VALUE(int none, ScaleFor(0));
  CHECK(none == kMaxScale);
}

TEST_CASE("fixed point: the scale of a bound is the finest that does not cut it") {
  for (double bound : {1.0, 1.0000001, 0.75, 3.0, 4.0, 1e-30, 1e30}) {
    REQUIRE_VALUE(int scale, ScaleFor(bound));
    CAPTURE(bound, scale);
    CHECK(std::ldexp(bound, scale) <= std::ldexp(1.0, kGridBits));
    CHECK(std::ldexp(bound, scale + 1) > std::ldexp(1.0, kGridBits));
  }
}

}  // namespace
}  // namespace oncomesh::federated
