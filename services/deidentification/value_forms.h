// SPDX-License-Identifier: Apache-2.0
// Forms of values. What stays because its kind is harmless must be of its kind: a value that is not
// of the form its VR asks for is a text in the wrong place.
#pragma once

#include "absl/strings/string_view.h"
#include "libs/dicom/dictionary.h"
#include "services/deidentification/vocabulary.h"

namespace oncomesh::deidentification {

// DS and IS: every value one number, with padding around it.
bool IsNumberText(absl::string_view values);

// TM: every value a time of day, or a range of two.
bool IsTimeText(absl::string_view values);

// Numbers of a binary VR of `width` bytes, at most `most_values` of them (0: any number).
bool IsNumbers(absl::string_view value, size_t width, size_t most_values);

// Sixteen bytes and more that are nothing but printable characters, as numbers hardly ever are.
bool ReadsAsText(absl::string_view value);

// One value of a coded string (PS3.5 6.2), with the punctuation that devices write into some; no
// telephone number or date, and in several words only those of `vocabulary` and of devices. A body
// part is one that has a name in PS3.16 or is made of words of the vocabulary.
bool IsCodeString(dicom::Tag tag, absl::string_view value, const Vocabulary& vocabulary);

// Whether a number is an identifier of SNOMED CT by its form: 6 to 18 digits with the partition of
// a concept, a description or a relationship and the right check digit (Verhoeff's). Of telephone
// numbers one in about two hundred is.
bool IsSnomedId(absl::string_view value);

// Whether the UID of an attribute that names classes is a public one: of the standard, or a code
// system of HL7's registry.
bool IsPublicClassUid(absl::string_view uid);

}  // namespace oncomesh::deidentification
