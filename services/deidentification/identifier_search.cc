// SPDX-License-Identifier: Apache-2.0
#include "services/deidentification/identifier_search.h"

#include <algorithm>
#include <array>

#include "absl/strings/ascii.h"

namespace oncomesh::deidentification {
namespace {

constexpr size_t kFilterBits = 1 << 14;

constexpr std::array<uint8_t, 256> MakeFold() {
  std::array<uint8_t, 256> out{};
  for (size_t i = 0; i < out.size(); ++i) {
    out[i] = static_cast<uint8_t>(i >= 'a' && i <= 'z' ? i - 'a' + 'A' : i);
  }
  return out;
}
constexpr std::array<uint8_t, 256> kFold = MakeFold();

uint8_t Fold(char c) { return kFold[static_cast<unsigned char>(c)]; }
size_t Slot(uint32_t window) { return (window * 2654435761u) >> 18; }
bool IsWord(char c) { return absl::ascii_isalnum(static_cast<unsigned char>(c)); }

}  // namespace

IdentifierSearch::IdentifierSearch() : filter_(kFilterBits / 64, 0) {}

void IdentifierSearch::Add(absl::string_view text) {
  size_t number = added_++;
  if (text.size() < kShortest) return;
  Entry entry{absl::AsciiStrToUpper(text.substr(0, kLongest)), text.size() > kLongest, number};
  uint32_t window = 0;
  for (size_t i = 0; i < 4; ++i) window = window << 8 | Fold(text[i]);
  filter_[Slot(window) / 64] |= uint64_t{1} << (Slot(window) % 64);
  longest_ = std::max(longest_, entry.text.size());
  entries_.push_back(std::move(entry));
}

void IdentifierSearch::Finish() {
  // std::string compares bytes as unsigned, as At does.
  std::stable_sort(entries_.begin(), entries_.end(),
                   [](const Entry& a, const Entry& b) { return a.text < b.text; });
  auto same = [](const Entry& a, const Entry& b) { return a.text == b.text; };
  // A string that is also the beginning of a longer one is looked for as the longer one is.
  for (size_t i = entries_.size(); i-- > 1;) {
    if (same(entries_[i - 1], entries_[i]) && entries_[i].cut) entries_[i - 1].cut = true;
  }
  entries_.erase(std::unique(entries_.begin(), entries_.end(), same), entries_.end());
}

// Narrows the entries that begin like the bytes, byte by byte.
const IdentifierSearch::Entry* IdentifierSearch::At(absl::string_view bytes, size_t start,
                                                    size_t shortest) const {
  auto low = entries_.begin(), high = entries_.end();
  for (size_t k = 0;; ++k) {
    if (low->text.size() == k) {
      const Entry& entry = *low++;
      size_t end = start + k;
      bool whole =
          (start == 0 || !IsWord(bytes[start - 1]) || !IsWord(entry.text.front())) &&
          (end == bytes.size() || !IsWord(bytes[end]) || !IsWord(entry.text.back()) || entry.cut);
      if (k >= shortest && whole) return &entry;
    }
    if (low == high || start + k >= bytes.size()) return nullptr;
    const uint8_t byte = Fold(bytes[start + k]);
    low = std::partition_point(
        low, high, [&](const Entry& entry) { return static_cast<uint8_t>(entry.text[k]) < byte; });
    high = std::partition_point(
        low, high, [&](const Entry& entry) { return static_cast<uint8_t>(entry.text[k]) == byte; });
    if (low == high) return nullptr;
  }
}

size_t IdentifierSearch::Find(absl::string_view bytes, size_t from, size_t shortest,
                              size_t* which) const {
  if (entries_.empty() || bytes.size() < from + kShortest) return kNoHit;
  uint32_t window = 0;
  for (size_t i = from; i < from + 3; ++i) window = window << 8 | Fold(bytes[i]);
  for (size_t i = from + 3; i < bytes.size(); ++i) {
    window = window << 8 | Fold(bytes[i]);
    size_t slot = Slot(window);
    if ((filter_[slot / 64] >> (slot % 64) & 1) == 0) continue;
    const Entry* entry = At(bytes, i - 3, shortest);
    if (entry == nullptr) continue;
    if (which != nullptr) *which = entry->number;
    return i - 3;
  }
  return kNoHit;
}

}  // namespace oncomesh::deidentification
