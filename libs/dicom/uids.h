// SPDX-License-Identifier: Apache-2.0
// The UIDs that the standard itself assigned (PS3.6 Annex A), compiled from a vendored table.
#pragma once

#include <cstdint>

#include "absl/strings/string_view.h"

namespace oncomesh::dicom {

enum class UidKind : uint8_t {
  kNone,   // not the standard's
  kClass,  // a SOP class, transfer syntax, coding scheme or context group
  kFrameOfReference,
  kInstance,  // of a service or a colour palette
};

// What the standard assigned `uid`, without padding, to. Any thread.
UidKind StandardUidKind(absl::string_view uid);

}  // namespace oncomesh::dicom
