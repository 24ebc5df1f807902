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
  Entry entry{0, absl::AsciiStrToUpper(text), number};
  for (size_t i = 0; i < 4; ++i) entry.window = entry.window << 8 | Fold(text[i]);
  filter_[Slot(entry.window) / 64] |= uint64_t{1} << (Slot(entry.window) % 64);
  longest_ = std::max(longest_, text.size());
  auto at = std::upper_bound(entries_.begin(), entries_.end(), entry.window,
                             [](uint32_t w, const Entry& e) { return w < e.window; });
  entries_.insert(at, std::move(entry));
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
    size_t start = i - 3;
    auto entry = std::lower_bound(entries_.begin(), entries_.end(), window,
                                  [](const Entry& e, uint32_t w) { return e.window < w; });
    for (; entry != entries_.end() && entry->window == window; ++entry) {
      const std::string& text = entry->text;
      if (text.size() < shortest || text.size() > bytes.size() - start) continue;
      size_t k = 4;
      while (k < text.size() && Fold(bytes[start + k]) == static_cast<uint8_t>(text[k])) ++k;
      if (k < text.size()) continue;
      size_t end = start + text.size();
      if (start > 0 && IsWord(bytes[start - 1]) && IsWord(text.front())) continue;
      if (end < bytes.size() && IsWord(bytes[end]) && IsWord(text.back())) continue;
      if (which != nullptr) *which = entry->number;
      return start;
    }
  }
  return kNoHit;
}

}  // namespace oncomesh::deidentification
