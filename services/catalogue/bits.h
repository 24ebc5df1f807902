// SPDX-License-Identifier: Apache-2.0
// A set of row numbers, one bit each.
#pragma once

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace oncomesh::catalogue {

// Sets that are combined have the same size. Bits past the size are zero.
class Bits {
 public:
  Bits() = default;
  explicit Bits(size_t size) : size_(size), words_((size + 63) / 64) {}

  size_t size() const { return size_; }
  const std::vector<uint64_t>& words() const { return words_; }

  void Set(size_t i) { words_[i >> 6] |= uint64_t{1} << (i & 63); }
  bool Test(size_t i) const { return (words_[i >> 6] >> (i & 63) & 1) != 0; }
  // Adds 64 rows at once: those of word `w`.
  void OrWord(size_t w, uint64_t bits) { words_[w] |= bits; }

  // Adds the rows from `begin` up to, not including, `end`.
  void SetRange(size_t begin, size_t end) {
    if (begin >= end) return;
    size_t first = begin >> 6, last = (end - 1) >> 6;
    uint64_t head = ~uint64_t{0} << (begin & 63);
    uint64_t tail = ~uint64_t{0} >> (63 - ((end - 1) & 63));
    if (first == last) {
      words_[first] |= head & tail;
      return;
    }
    words_[first] |= head;
    for (size_t w = first + 1; w < last; ++w) words_[w] = ~uint64_t{0};
    words_[last] |= tail;
  }
  void SetAll() { SetRange(0, size_); }

  void And(const Bits& other) {
    for (size_t w = 0; w < words_.size(); ++w) words_[w] &= other.words_[w];
  }
  void AndNot(const Bits& other) {
    for (size_t w = 0; w < words_.size(); ++w) words_[w] &= ~other.words_[w];
  }
  void Or(const Bits& other) {
    for (size_t w = 0; w < words_.size(); ++w) words_[w] |= other.words_[w];
  }

  size_t Count() const {
    size_t n = 0;
    for (uint64_t word : words_) n += static_cast<size_t>(std::popcount(word));
    return n;
  }

  // Rows that are in one of two sets and not in the other; the sets may differ in size. Gives up
  // with some number above `limit` once there are more.
  static size_t Difference(const Bits& a, const Bits& b, size_t limit = SIZE_MAX) {
    const Bits& longer = a.words_.size() >= b.words_.size() ? a : b;
    const Bits& shorter = &longer == &a ? b : a;
    size_t n = 0, w = 0;
    for (; w < shorter.words_.size() && n <= limit; ++w) {
      // Populations that are compared are mostly alike.
      uint64_t differ = a.words_[w] ^ b.words_[w];
      if (differ != 0) n += static_cast<size_t>(std::popcount(differ));
    }
    for (; w < longer.words_.size() && n <= limit; ++w) {
      n += static_cast<size_t>(std::popcount(longer.words_[w]));
    }
    return n;
  }

  // The first row at or after `from`; size() when there is none.
  size_t Next(size_t from) const {
    if (from >= size_) return size_;
    size_t w = from >> 6;
    uint64_t word = words_[w] & ~uint64_t{0} << (from & 63);
    while (word == 0) {
      if (++w == words_.size()) return size_;
      word = words_[w];
    }
    return w * 64 + static_cast<size_t>(std::countr_zero(word));
  }

  template <typename Visit>
  void ForEach(Visit visit) const {
    for (size_t w = 0; w < words_.size(); ++w) {
      for (uint64_t word = words_[w]; word != 0; word &= word - 1) {
        visit(w * 64 + static_cast<size_t>(std::countr_zero(word)));
      }
    }
  }

 private:
  size_t size_ = 0;
  std::vector<uint64_t> words_;
};

}  // namespace oncomesh::catalogue
