// SPDX-License-Identifier: Apache-2.0
#include "services/catalogue/column.h"

#ifdef __SSE2__
#include <emmintrin.h>
#endif

#include <algorithm>
#include <numeric>
#include <utility>

namespace oncomesh::catalogue {
namespace {

// A value held by more than one row in 64 takes less room as a bit per row than as a list.
constexpr size_t kDenseFraction = 64;

// Adds the rows whose code lies in [first, last] to `out`. Codes are below 2^31.
void SelectRange(const std::vector<uint32_t>& codes, uint32_t first, uint32_t last, Bits& out) {
  size_t row = 0;
#ifdef __SSE2__
  // Four codes to a comparison; SSE2 is part of every x86-64.
  const __m128i below = _mm_set1_epi32(static_cast<int>(first) - 1);
  const __m128i above = _mm_set1_epi32(static_cast<int>(last) + 1);
  for (; row + 64 <= codes.size(); row += 64) {
    uint64_t word = 0;
    for (size_t i = 0; i < 64; i += 4) {
      __m128i four = _mm_loadu_si128(reinterpret_cast<const __m128i*>(&codes[row + i]));
      __m128i in = _mm_and_si128(_mm_cmpgt_epi32(four, below), _mm_cmpgt_epi32(above, four));
      word |= static_cast<uint64_t>(_mm_movemask_ps(_mm_castsi128_ps(in))) << i;
    }
    out.OrWord(row / 64, word);
  }
#endif
  for (; row < codes.size(); ++row) {
    if (codes[row] >= first && codes[row] <= last) out.Set(row);
  }
}

}  // namespace

bool ColumnBuilder::Set(size_t row, absl::string_view text) {
  if (codes_.size() < row) codes_.resize(row, 0);
  auto [known, fresh] = by_text_.try_emplace(text, 0);
  if (fresh) {
    known->second = kInvalid;
    if (variable_.numeric()) {
      if (auto number = variable_.ParseNumber(text); number.ok()) {
        std::string name = terminology::FormatNumber(*number);
        auto [place, added] =
            by_name_.try_emplace(name, static_cast<uint32_t>(numbers_.size() + 1));
        if (added) numbers_.push_back(*number);
        known->second = place->second;
      }
    } else if (auto code = variable_.NormaliseCode(text); code.ok()) {
      auto [place, added] = by_name_.try_emplace(*code, static_cast<uint32_t>(names_.size() + 1));
      if (added) names_.push_back(*code);
      known->second = place->second;
    }
  }
  bool valid = known->second != kInvalid;
  codes_.push_back(valid ? known->second : 0);
  return valid;
}

Column ColumnBuilder::Build(size_t rows) && {
  Column out;
  out.variable_ = &variable_;
  codes_.resize(rows, 0);
  // Preliminary codes become places in the sorted dictionary.
  size_t n = std::max(names_.size(), numbers_.size());
  std::vector<uint32_t> order(n);
  std::iota(order.begin(), order.end(), 0);
  std::sort(order.begin(), order.end(), [&](uint32_t a, uint32_t b) {
    return variable_.numeric() ? numbers_[a] < numbers_[b] : names_[a] < names_[b];
  });
  std::vector<uint32_t> place(n + 1, 0);
  for (size_t i = 0; i < n; ++i) {
    place[order[i] + 1] = static_cast<uint32_t>(i + 1);
    if (variable_.numeric()) {
      out.numbers_.push_back(numbers_[order[i]]);
    } else {
      out.names_.push_back(std::move(names_[order[i]]));
    }
  }
  out.codes_ = std::move(codes_);
  out.counts_.assign(n + 1, 0);
  for (uint32_t& code : out.codes_) {
    code = place[code];
    ++out.counts_[code];
  }
  out.known_ = rows - out.counts_[0];
  out.postings_.resize(n + 1);
  for (size_t v = 1; v <= n; ++v) {
    if (out.counts_[v] * kDenseFraction > rows) {
      out.postings_[v].dense = Bits(rows);
    } else {
      out.postings_[v].list.reserve(out.counts_[v]);
    }
  }
  for (size_t row = 0; row < rows; ++row) {
    uint32_t v = out.codes_[row];
    if (v == 0) continue;
    if (out.postings_[v].dense.size() > 0) {
      out.postings_[v].dense.Set(row);
    } else {
      out.postings_[v].list.push_back(static_cast<uint32_t>(row));
    }
  }
  return out;
}

Bits Column::Known() const {
  Bits out(codes_.size());
  SelectRange(codes_, 1, static_cast<uint32_t>(values()), out);
  return out;
}

std::vector<char> Column::Accepted(const query::Bound& condition) const {
  std::vector<char> out(values() + 1, 0);
  for (uint32_t v = 1; v < out.size(); ++v) {
    bool good = false;
    if (!variable_->numeric()) {
      for (const std::string& code : condition.codes) {
        good = good || variable_->IsOrIsBelow(names_[v - 1], code);
      }
    } else {
      double number = numbers_[v - 1];
      switch (condition.op) {
        case query::v1::OPERATOR_LESS:
          good = number < condition.numbers[0];
          break;
        case query::v1::OPERATOR_LESS_OR_EQUAL:
          good = number <= condition.numbers[0];
          break;
        case query::v1::OPERATOR_GREATER:
          good = number > condition.numbers[0];
          break;
        case query::v1::OPERATOR_GREATER_OR_EQUAL:
          good = number >= condition.numbers[0];
          break;
        default:
          good = std::binary_search(condition.numbers.begin(), condition.numbers.end(), number);
      }
    }
    out[v] = good != condition.negated;
  }
  return out;
}

Bits Column::Select(const query::Bound& condition) const {
  size_t rows = codes_.size();
  Bits out(rows);
  std::vector<char> accepted = Accepted(condition);
  // Merging postings costs a word per 64 rows for a dense value and an insertion per row of a
  // listed one; reading the codes costs about an insertion per eight rows. The cheaper is taken.
  size_t cost = 0;
  for (size_t v = 1; v < accepted.size(); ++v) {
    if (accepted[v]) cost += postings_[v].dense.size() > 0 ? rows / 64 : postings_[v].list.size();
  }
  if (cost <= rows / 8) {
    for (size_t v = 1; v < accepted.size(); ++v) {
      if (!accepted[v]) continue;
      if (postings_[v].dense.size() > 0) {
        out.Or(postings_[v].dense);
      } else {
        for (uint32_t row : postings_[v].list) out.Set(row);
      }
    }
    return out;
  }
  // The dictionary is sorted, so what a comparison accepts is a few runs of codes.
  constexpr size_t kFewRuns = 4;
  std::vector<std::pair<uint32_t, uint32_t>> runs;
  for (uint32_t v = 1; v < accepted.size(); ++v) {
    if (!accepted[v]) continue;
    if (v == 1 || !accepted[v - 1]) runs.emplace_back(v, v);
    runs.back().second = v;
  }
  if (runs.size() <= kFewRuns) {
    for (const auto& [first, last] : runs) SelectRange(codes_, first, last, out);
    return out;
  }
  for (size_t w = 0; w * 64 < rows; ++w) {
    size_t end = std::min<size_t>(64, rows - w * 64);
    uint64_t word = 0;
    for (size_t i = 0; i < end; ++i) {
      word |= static_cast<uint64_t>(accepted[codes_[w * 64 + i]]) << i;
    }
    out.OrWord(w, word);
  }
  return out;
}

}  // namespace oncomesh::catalogue
