// SPDX-License-Identifier: Apache-2.0
// Values of a loaded data set, for the readers of this folder only (shows DCMTK).
#pragma once

#include <dcmtk/config/osconfig.h>
// After osconfig.h.
#include <dcmtk/dcmdata/dctk.h>

#include <cmath>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/ascii.h"
#include "libs/base/status_macros.h"

namespace oncomesh::dicom {

// The first value without padding; empty when absent.
inline std::string Text(DcmItem& item, const DcmTagKey& tag) {
  OFString value;
  item.findAndGetOFString(tag, value);
  return std::string(absl::StripAsciiWhitespace(absl::string_view(value.c_str(), value.length())));
}

// A value of more bytes than this is none of the numbers that are read here: the longest are six
// decimal strings. DCMTK walks over all values for each one it is asked for.
constexpr Uint32 kMaxNumberBytes = 1024;

// Value `position` as a finite number; nothing when absent or no number.
inline std::optional<double> Number(DcmItem& item, const DcmTagKey& tag,
                                    unsigned long position = 0) {
  DcmElement* element = nullptr;
  if (item.findAndGetElement(tag, element).bad() || element == nullptr) return std::nullopt;
  if (element->getLength() > kMaxNumberBytes) return std::nullopt;
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

// Series that one structure set or segmentation may refer to.
constexpr size_t kMaxReferencedSeries = 10'000;

// Calls `visit` for every item of a sequence, until it returns an error.
template <typename Visit>
absl::Status ForEachItem(DcmItem& parent, const DcmTagKey& tag, Visit visit) {
  DcmSequenceOfItems* sequence = nullptr;
  if (parent.findAndGetSequence(tag, sequence).bad() || sequence == nullptr) {
    return absl::OkStatus();
  }
  // By nextInContainer: getItem walks from the start each time.
  DcmObject* item = nullptr;
  while ((item = sequence->nextInContainer(item)) != nullptr) {
    RETURN_IF_ERROR(visit(*static_cast<DcmItem*>(item)));
  }
  return absl::OkStatus();
}

// Where the attributes of the frames stand: in the functional groups of an enhanced object, a
// frame's own first, or at top level of a classic one (PS3.3 C.7.6.16). Made once for an object:
// the list of the frames is walked once, and what all frames share is looked up once.
class FunctionalGroups {
 public:
  FunctionalGroups(DcmItem& dataset, bool enhanced, size_t frames)
      : dataset_(dataset), enhanced_(enhanced) {
    if (!enhanced) return;
    DcmSequenceOfItems* own = nullptr;
    if (dataset.findAndGetSequence(DCM_PerFrameFunctionalGroupsSequence, own).good() &&
        own != nullptr) {
      DcmObject* item = nullptr;
      while (own_.size() < frames && (item = own->nextInContainer(item)) != nullptr) {
        own_.push_back(static_cast<DcmItem*>(item));
      }
    }
    dataset.findAndGetSequenceItem(DCM_SharedFunctionalGroupsSequence, shared_, 0);
  }

  // The item of a functional group of a frame; nullptr when it is missing. Of a group that frames
  // share it is the same item for each of them.
  DcmItem* Find(size_t frame, const DcmTagKey& group) {
    if (!enhanced_) return &dataset_;
    if (frame < own_.size()) {
      if (DcmItem* item = First(*own_[frame], group); item != nullptr) return item;
    }
    if (shared_ == nullptr) return nullptr;
    auto [found, added] = of_shared_.emplace(std::pair(group.getGroup(), group.getElement()),
                                             static_cast<DcmItem*>(nullptr));
    if (added) found->second = First(*shared_, group);
    return found->second;
  }

 private:
  static DcmItem* First(DcmItem& place, const DcmTagKey& group) {
    DcmItem* item = nullptr;
    return place.findAndGetSequenceItem(group, item, 0).good() ? item : nullptr;
  }

  DcmItem& dataset_;
  bool enhanced_;
  std::vector<DcmItem*> own_;
  DcmItem* shared_ = nullptr;
  std::map<std::pair<Uint16, Uint16>, DcmItem*> of_shared_;
};

}  // namespace oncomesh::dicom
