// SPDX-License-Identifier: Apache-2.0
#include "libs/dicom/uids.h"

#include <algorithm>
#include <iterator>

#include "absl/strings/ascii.h"
#include "absl/strings/strip.h"

namespace oncomesh::dicom {
namespace {

struct StandardUid {
  absl::string_view uid;
  UidKind kind;
};

#include "uids.inc"

}  // namespace

UidKind StandardUidKind(absl::string_view uid) {
  const StandardUid* found =
      std::lower_bound(std::begin(kStandardUids), std::end(kStandardUids), uid,
                       [](const StandardUid& entry, absl::string_view u) { return entry.uid < u; });
  if (found != std::end(kStandardUids) && found->uid == uid) return found->kind;
  // Context groups by their number (PS3.16 Annex B), which has at most four digits.
  if (absl::ConsumePrefix(&uid, "1.2.840.10008.6.1.") && !uid.empty() && uid.size() <= 4 &&
      uid[0] != '0' &&
      std::all_of(uid.begin(), uid.end(), [](unsigned char c) { return absl::ascii_isdigit(c); })) {
    return UidKind::kClass;
  }
  return UidKind::kNone;
}

}  // namespace oncomesh::dicom
