// SPDX-License-Identifier: Apache-2.0
// What becomes of standard attributes that PS3.15 Table E.1-1 does not list. The table leaves them
// to the implementer, and about 450 of them hold text that somebody types or an identifier of a
// person, an order or a machine. So text and opaque bytes go, unless the attribute is one of those
// reviewed here as written by equipment about equipment; numbers, coded strings and the structure
// stay.
#pragma once

#include "libs/dicom/dictionary.h"

namespace oncomesh::deidentification {

enum class UnlistedRole {
  // Numbers, coded strings, sequences and other values that hold no text.
  kNoText,
  // Text of equipment about equipment or a code of a code system: kept, unless a word of it is one
  // of the patient's.
  kTechnical,
  // A short text a person may have typed: cleaned word by word where the profile cleans
  // descriptors, removed where it does not.
  kDescriptor,
  // The same where the attribute must have a value (PS3.3 type 1): replaced by a dummy instead of
  // removed.
  kRequiredDescriptor,
  // Long text, identifiers, addresses, encrypted and opaque content, and values copied from other
  // attributes: removed by every profile.
  kRemoved,
};

// For a standard attribute the dictionary has and the table does not list. Dates, unique
// identifiers and names of people are the profile's, by their VR, and kNoText here.
UnlistedRole RoleOfUnlisted(const dicom::DictionaryEntry& entry);

}  // namespace oncomesh::deidentification
