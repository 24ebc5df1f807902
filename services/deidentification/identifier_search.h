// SPDX-License-Identifier: Apache-2.0
// Looks for many known strings in a stream of bytes at about a gigabyte per second.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"

namespace oncomesh::deidentification {

// Case of A-Z does not matter. A hit must not continue a longer word or number: its neighbours are
// neither letters nor digits, unless the string itself begins or ends with something else.
// Filled by one thread; then any thread may search.
class IdentifierSearch {
 public:
  static constexpr size_t kShortest = 4;
  static constexpr size_t kNoHit = static_cast<size_t>(-1);

  IdentifierSearch();

  // Shorter strings are ignored: they are everywhere.
  void Add(absl::string_view text);
  bool empty() const { return entries_.empty(); }
  // Length of the longest string, to know how far parts of a stream must overlap.
  size_t longest() const { return longest_; }

  // Offset of the first hit at or after `from` of a string of at least `shortest` bytes, or kNoHit.
  // `which` gets the number of the string in the order of Add, when not null.
  size_t Find(absl::string_view bytes, size_t from = 0, size_t shortest = kShortest,
              size_t* which = nullptr) const;

 private:
  struct Entry {
    uint32_t window;  // its first four bytes, folded
    std::string text;
    size_t number;
  };
  std::vector<Entry> entries_;  // ascending by window
  std::vector<uint64_t> filter_;
  size_t longest_ = 0;
  size_t added_ = 0;
};

}  // namespace oncomesh::deidentification
