// SPDX-License-Identifier: Apache-2.0
#include "libs/dicom/dictionary.h"

#include <algorithm>
#include <iterator>

namespace oncomesh::dicom {
namespace {

// An attribute of the groups low..high.
struct RepeatingEntry {
  uint16_t low, high;
  uint16_t element;
  Vr vr;
};

#include "dictionary.inc"

}  // namespace

const DictionaryEntry* FindEntry(Tag tag) {
  if (IsPrivate(tag)) return nullptr;
  const DictionaryEntry* found =
      std::lower_bound(std::begin(kDictionary), std::end(kDictionary), tag,
                       [](const DictionaryEntry& entry, Tag t) { return entry.tag < t; });
  if (found != std::end(kDictionary) && found->tag == tag) return found;
  uint16_t group = Group(tag);
  if (group < 0x5000 || group > 0x7fff) return nullptr;
  for (const RepeatingEntry& entry : kRepeating) {
    if (group >= entry.low && group <= entry.high && ElementOf(tag) == entry.element) {
      // Repeating groups differ in nothing but the group; one entry per VR is enough.
      static constexpr DictionaryEntry kByVr[] = {
          {0, kUS, 0, false}, {0, kIS, 0, false}, {0, kLO, 0, false},
          {0, kCS, 0, false}, {0, kSH, 0, false}, {0, kOW, 0, false},
          {0, kDS, 0, false}, {0, kSQ, 0, false}, {0, kLT, 0, false},
          {0, kUL, 0, false}, {0, kAT, 0, false}, {0, Code('S', 'S'), 0, false}};
      for (const DictionaryEntry& by_vr : kByVr) {
        if (by_vr.vr == entry.vr) return &by_vr;
      }
    }
  }
  return nullptr;
}

Vr LookupVr(Tag tag) {
  if (IsGroupLength(tag)) return kUL;
  if (IsPrivate(tag)) return IsPrivateCreator(tag) ? kLO : kUN;
  const DictionaryEntry* entry = FindEntry(tag);
  return entry == nullptr ? kUN : entry->vr;
}

DictionaryRange AllEntries() { return {std::begin(kDictionary), std::end(kDictionary)}; }

}  // namespace oncomesh::dicom
