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
// Filled by one thread; after Finish any thread may search. The work at one place of the bytes is
// bounded by kLongest, whatever the strings are: they come from strangers.
class IdentifierSearch {
 public:
  static constexpr size_t kShortest = 4;
  // Of a longer string so many bytes are looked for, wherever they end.
  static constexpr size_t kLongest = 128;
  static constexpr size_t kNoHit = static_cast<size_t>(-1);

  IdentifierSearch();

  // Shorter strings are ignored: they are everywhere.
  void Add(absl::string_view text);
  // After the last Add and before the first Find.
  void Finish();
  bool empty() const { return entries_.empty(); }
  // Strings that are looked for; after Finish the different ones.
  size_t size() const { return entries_.size(); }
  // Length of the longest string, to know how far parts of a stream must overlap.
  size_t longest() const { return longest_; }

  // Offset of the first hit at or after `from` of a string of at least `shortest` bytes, or kNoHit.
  // `which` gets the number of the string in the order of Add, when not null.
  size_t Find(absl::string_view bytes, size_t from = 0, size_t shortest = kShortest,
              size_t* which = nullptr) const;

 private:
  struct Entry {
    std::string text;  // folded
    bool cut;          // goes on in the source
    size_t number;
  };
  // The entry that is at bytes[start], or nullptr.
  const Entry* At(absl::string_view bytes, size_t start, size_t shortest) const;

  std::vector<Entry> entries_;  // ascending by text, each once
  std::vector<uint64_t> filter_;
  size_t longest_ = 0;
  size_t added_ = 0;
};

}  // namespace oncomesh::deidentification
