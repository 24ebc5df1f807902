// SPDX-License-Identifier: Apache-2.0
#include "libs/federated/fixed_point.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>
#include <type_traits>

#include "absl/strings/str_cat.h"
#include "libs/base/error.h"
#include "libs/base/status_macros.h"

namespace oncomesh::federated {
namespace {

// Adding 1.5·2^52 to |v| ≤ 2^51 leaves round-half-even(v) in the low bits of the sum: the rounding
// of the addition is the rounding wanted, and it needs no conversion instruction that only
// AVX-512 has for vectors.
constexpr double kShift = 6755399441055744.0;
constexpr double kLimit = 2251799813685248.0;  // 2^51

template <typename T>
[[gnu::always_inline]] inline int64_t AddLoop(const T* x, size_t n, double factor, int64_t sign,
                                              int64_t* sums) {
  int64_t saturated = 0;
  for (size_t i = 0; i < n; ++i) {
    double v = static_cast<double>(x[i]) * factor;
    saturated += std::fabs(v) > kLimit ? 1 : 0;
    v = v > kLimit ? kLimit : v;
    v = v < -kLimit ? -kLimit : v;
    int64_t q = std::bit_cast<int64_t>(v + kShift) - std::bit_cast<int64_t>(kShift);
    // Unsigned: sums of foreign numbers wrap, they do not overflow.
    sums[i] =
        static_cast<int64_t>(static_cast<uint64_t>(sums[i]) + static_cast<uint64_t>(q * sign));
  }
  return saturated;
}

// Magnitudes compare like their bits read as integers, and NaN and infinity lie above every finite
// value; an integer maximum is a vector loop, one of floats is not without -ffast-math.
template <typename T>
using BitsOf = std::conditional_t<sizeof(T) == 4, int32_t, int64_t>;

template <typename T>
[[gnu::always_inline]] inline BitsOf<T> MaxLoop(const T* x, size_t n) {
  constexpr BitsOf<T> kMask = std::numeric_limits<BitsOf<T>>::max();
  BitsOf<T> largest = 0;
  for (size_t i = 0; i < n; ++i) {
    BitsOf<T> bits = std::bit_cast<BitsOf<T>>(x[i]) & kMask;
    largest = bits > largest ? bits : largest;
  }
  return largest;
}

#if defined(__x86_64__) && defined(__GNUC__)
#define ONCOMESH_HAS_VECTOR 1
bool HasVector() {
  static const bool has = __builtin_cpu_supports("avx2");
  return has;
}
// Written out: the compiler does not vectorise AddLoop, whose counter and sums differ in type from
// its values. Operation for operation the same, so that the bits are the same.
__attribute__((target("avx2"))) inline __m256d Four(const float* x) {
  return _mm256_cvtps_pd(_mm_loadu_ps(x));
}
__attribute__((target("avx2"))) inline __m256d Four(const double* x) { return _mm256_loadu_pd(x); }

template <bool kAdd, typename T>
__attribute__((target("avx2"))) int64_t AddVector(const T* x, size_t n, double factor,
                                                  int64_t* sums) {
  const __m256d scale = _mm256_set1_pd(factor), high = _mm256_set1_pd(kLimit),
                low = _mm256_set1_pd(-kLimit), shift = _mm256_set1_pd(kShift),
                sign = _mm256_set1_pd(-0.0);
  const __m256i shift_bits = _mm256_castpd_si256(shift);
  __m256i saturated = _mm256_setzero_si256();
  size_t i = 0;
  for (; i + 4 <= n; i += 4) {
    __m256d v = _mm256_mul_pd(Four(x + i), scale);
    __m256d cut = _mm256_cmp_pd(_mm256_andnot_pd(sign, v), high, _CMP_GT_OQ);
    saturated = _mm256_sub_epi64(saturated, _mm256_castpd_si256(cut));
    v = _mm256_max_pd(_mm256_min_pd(v, high), low);
    __m256i q = _mm256_sub_epi64(_mm256_castpd_si256(_mm256_add_pd(v, shift)), shift_bits);
    auto* at = reinterpret_cast<__m256i*>(sums + i);
    __m256i sum = _mm256_loadu_si256(at);
    _mm256_storeu_si256(at, kAdd ? _mm256_add_epi64(sum, q) : _mm256_sub_epi64(sum, q));
  }
  alignas(32) int64_t lanes[4];
  _mm256_store_si256(reinterpret_cast<__m256i*>(lanes), saturated);
  return lanes[0] + lanes[1] + lanes[2] + lanes[3] +
         AddLoop(x + i, n - i, factor, kAdd ? 1 : -1, sums + i);
}
template <typename T>
__attribute__((target("avx2"))) BitsOf<T> MaxVector(const T* x, size_t n) {
  return MaxLoop(x, n);
}
#endif

template <typename T>
int64_t AddTo(const T* x, size_t n, double factor, int64_t sign, int64_t* sums) {
#ifdef ONCOMESH_HAS_VECTOR
  if (HasVector()) {
    return sign > 0 ? AddVector<true>(x, n, factor, sums) : AddVector<false>(x, n, factor, sums);
  }
#endif
  return sign > 0 ? AddLoop(x, n, factor, 1, sums) : AddLoop(x, n, factor, -1, sums);
}

template <typename T>
absl::StatusOr<double> Magnitude(absl::Span<const T> values) {
  BitsOf<T> bits;
#ifdef ONCOMESH_HAS_VECTOR
  if (HasVector()) {
    bits = MaxVector(values.data(), values.size());
  } else {
    bits = MaxLoop(values.data(), values.size());
  }
#else
  bits = MaxLoop(values.data(), values.size());
#endif
  auto largest = static_cast<double>(std::bit_cast<T>(bits));
  if (!std::isfinite(largest)) {
    return base::Error(absl::StatusCode::kInvalidArgument, "UPDATE_NOT_FINITE",
                       "the update holds a NaN or an infinity; lower the learning rate or check "
                       "the data of this site");
  }
  return largest;
}

absl::Status SumError(absl::string_view reason, absl::string_view message) {
  return base::Error(absl::StatusCode::kInvalidArgument, reason, message);
}

}  // namespace

absl::StatusOr<int> ScaleFor(double bound) {
  if (!(bound >= 0) || std::isinf(bound)) {
    return SumError("BOUND_INVALID", "a bound is a finite number of at least 0");
  }
  if (bound == 0) return kMaxScale;
  int exponent = 0;
  double fraction = std::frexp(bound, &exponent);  // bound = fraction · 2^exponent, 0.5 ≤ f < 1
  int scale = fraction == 0.5 ? kGridBits - exponent + 1 : kGridBits - exponent;
  if (scale < kMinScale) return SumError("BOUND_INVALID", "the bound is too large for any scale");
  return std::min(scale, kMaxScale);
}

absl::StatusOr<double> MaxMagnitude(absl::Span<const float> values) { return Magnitude(values); }
absl::StatusOr<double> MaxMagnitude(absl::Span<const double> values) { return Magnitude(values); }

FixedPointSum::FixedPointSum(size_t size, int scale) : sums_(size, 0), scale_(scale) {}

void FixedPointSum::Reset(size_t size, int scale) {
  sums_.assign(size, 0);
  scale_ = scale;
  summands_ = 0;
  saturated_ = 0;
}

template <typename T>
absl::Status FixedPointSum::Apply(absl::Span<const T> values, int64_t weight, int sign) {
  if (values.size() != sums_.size()) {
    return SumError("SUM_SIZE", absl::StrCat("the sum has ", sums_.size(), " places and ",
                                             values.size(), " values were given"));
  }
  if (weight < 1 || weight > kMaxWeight) {
    return SumError("SUM_WEIGHT",
                    absl::StrCat("a weight is a whole number from 1 to ", kMaxWeight));
  }
  if (sign > 0 && summands_ >= kMaxSummands) {
    return SumError("SUM_FULL", absl::StrCat("a sum takes at most ", kMaxSummands, " summands"));
  }
  if (sign < 0 && summands_ == 0) return SumError("SUM_EMPTY", "there is nothing to take back");
  RETURN_IF_ERROR(MaxMagnitude(values).status());
  double factor = std::ldexp(static_cast<double>(weight), scale_);
  int64_t saturated = AddTo(values.data(), values.size(), factor, sign, sums_.data());
  saturated_ += sign * saturated;
  summands_ += sign;
  return absl::OkStatus();
}

absl::Status FixedPointSum::Add(absl::Span<const float> values, int64_t weight) {
  return Apply(values, weight, 1);
}
absl::Status FixedPointSum::Add(absl::Span<const double> values, int64_t weight) {
  return Apply(values, weight, 1);
}
absl::Status FixedPointSum::Subtract(absl::Span<const float> values, int64_t weight) {
  return Apply(values, weight, -1);
}
absl::Status FixedPointSum::Subtract(absl::Span<const double> values, int64_t weight) {
  return Apply(values, weight, -1);
}

absl::Status FixedPointSum::Merge(const FixedPointSum& other) {
  if (other.size() != size()) return SumError("SUM_SIZE", "the partial sums differ in size");
  if (other.scale_ != scale_) return SumError("SUM_SCALE", "the partial sums differ in scale");
  if (summands_ + other.summands_ > kMaxSummands) {
    return SumError("SUM_FULL", absl::StrCat("a sum takes at most ", kMaxSummands, " summands"));
  }
  for (size_t i = 0; i < sums_.size(); ++i) {
    sums_[i] = static_cast<int64_t>(static_cast<uint64_t>(sums_[i]) +
                                    static_cast<uint64_t>(other.sums_[i]));
  }
  summands_ += other.summands_;
  saturated_ += other.saturated_;
  return absl::OkStatus();
}

std::vector<double> FixedPointSum::Values() const {
  std::vector<double> out(sums_.size());
  ScaledValues(1.0, absl::MakeSpan(out));
  return out;
}

void FixedPointSum::ScaledValues(double factor, absl::Span<double> out) const {
  const double step = std::ldexp(1.0, -scale_);
  for (size_t i = 0; i < sums_.size(); ++i) out[i] = static_cast<double>(sums_[i]) * step * factor;
}

}  // namespace oncomesh::federated
