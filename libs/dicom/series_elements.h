// SPDX-License-Identifier: Apache-2.0
// Values of a loaded data set, for the readers of this folder only (shows DCMTK).
#pragma once

#include <dcmtk/config/osconfig.h>
// After osconfig.h.
#include <dcmtk/dcmdata/dctk.h>

#include <cmath>
#include <optional>
#include <string>

#include "absl/strings/ascii.h"

namespace oncomesh::dicom {

// The first value without padding; empty when absent.
inline std::string Text(DcmItem& item, const DcmTagKey& tag) {
  OFString value;
  item.findAndGetOFString(tag, value);
  return std::string(absl::StripAsciiWhitespace(absl::string_view(value.c_str(), value.length())));
}

// Value `position` as a finite number; nothing when absent or no number.
inline std::optional<double> Number(DcmItem& item, const DcmTagKey& tag,
                                    unsigned long position = 0) {
  DcmElement* element = nullptr;
  if (item.findAndGetElement(tag, element).bad() || element == nullptr) return std::nullopt;
  Float64 value = 0;
  if (element->getFloat64(value, position).good() && std::isfinite(value)) return value;
  Sint32 integer = 0;
  if (element->getSint32(integer, position).good()) return integer;
  Uint16 word = 0;
  if (element->getUint16(word, position).good()) return word;
  return std::nullopt;
}

// The same as a whole number that fits an int; nothing for any other.
inline std::optional<int> WholeNumber(DcmItem& item, const DcmTagKey& tag) {
  auto value = Number(item, tag);
  if (!value || *value != std::floor(*value) || std::abs(*value) > 2e9) return std::nullopt;
  return static_cast<int>(*value);
}

// Where the attributes of a frame stand: in the functional groups of an enhanced object, its own
// first, or at top level of a classic one (PS3.3 C.7.6.16).
class FunctionalGroups {
 public:
  FunctionalGroups(DcmItem& dataset, bool enhanced, unsigned long frame)
      : dataset_(dataset), enhanced_(enhanced) {
    if (!enhanced) return;
    dataset.findAndGetSequenceItem(DCM_PerFrameFunctionalGroupsSequence, own_,
                                   static_cast<signed long>(frame));
    dataset.findAndGetSequenceItem(DCM_SharedFunctionalGroupsSequence, shared_, 0);
  }
  // The item of a functional group; nullptr when it is missing.
  DcmItem* Find(const DcmTagKey& group) const {
    if (!enhanced_) return &dataset_;
    for (DcmItem* place : {own_, shared_}) {
      DcmItem* item = nullptr;
      if (place != nullptr && place->findAndGetSequenceItem(group, item, 0).good() &&
          item != nullptr) {
        return item;
      }
    }
    return nullptr;
  }

 private:
  DcmItem& dataset_;
  bool enhanced_;
  DcmItem* own_ = nullptr;
  DcmItem* shared_ = nullptr;
};

}  // namespace oncomesh::dicom
