// SPDX-License-Identifier: Apache-2.0
// What becomes of single values: dates, ages, unique identifiers.
#pragma once

#include <array>
#include <optional>
#include <string>

#include "absl/strings/string_view.h"
#include "libs/dicom/dictionary.h"

namespace oncomesh::deidentification {

// Ages from this on are told as this: the oldest are few enough to be recognised.
inline constexpr int kAgeCap = 90;

// DA values (PS3.5 6.2), several separated by a backslash, each one possibly a range: shifted by
// `days`. Also reads the old form YYYY.MM.DD. nullopt when a value is no date.
std::optional<std::string> ShiftDates(absl::string_view values, int days);

// DT values: the date is shifted, time, fraction and offset from UTC stay. A value that tells no
// day or no month is shifted from the middle of what it tells and stays as coarse.
std::optional<std::string> ShiftDateTimes(absl::string_view values, int days);

// Whether `digits` are a day YYYYMMDD of the twentieth or twenty-first century.
bool IsDay(absl::string_view digits);

// YYYYMMDD as people write it: with dashes, dots and slashes, and the day first.
std::array<std::string, 6> SpellingsOfDay(absl::string_view day);

// AS values (nnnD, nnnW, nnnM, nnnY), capped. nullopt when a value is no age.
std::optional<std::string> CapAges(absl::string_view values);

// Whether a UID stays as it is where UIDs are replaced: a frame of reference or a colour palette of
// the standard's own, in the attributes where such stand. Identities and references never do.
bool KeepsUid(dicom::Tag tag, absl::string_view uid);

// True when `uid` has the form of a UID: digits and dots, 1 to 64 characters.
bool IsUid(absl::string_view uid);

}  // namespace oncomesh::deidentification
