// SPDX-License-Identifier: Apache-2.0
#include "services/deidentification/values.h"

#include <algorithm>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "absl/time/civil_time.h"
#include "libs/dicom/file_meta.h"
#include "libs/dicom/uids.h"

namespace oncomesh::deidentification {
namespace {

bool AllDigits(absl::string_view text) {
  return !text.empty() && std::all_of(text.begin(), text.end(),
                                      [](unsigned char c) { return absl::ascii_isdigit(c); });
}

int Number(absl::string_view digits) {
  int out = 0;
  for (char c : digits) out = out * 10 + (c - '0');
  return out;
}

std::optional<absl::CivilDay> Day(int year, int month, int day) {
  absl::CivilDay out(year, month, day);
  // Civil days normalise what does not exist (30 February); such a value is no date.
  if (year < 1 || out.year() != year || out.month() != month || out.day() != day) {
    return std::nullopt;
  }
  return out;
}

std::string Format(absl::CivilDay day) {
  return absl::StrFormat("%04d%02d%02d", static_cast<int>(day.year()), day.month(), day.day());
}

std::optional<std::string> ShiftOneDate(absl::string_view text, int days) {
  std::string digits(text);
  if (digits.size() == 10 && digits[4] == '.' && digits[7] == '.') {
    digits.erase(7, 1);
    digits.erase(4, 1);
  }
  if (digits.size() != 8 || !AllDigits(digits)) return std::nullopt;
  absl::string_view view = digits;
  auto day = Day(Number(view.substr(0, 4)), Number(view.substr(4, 2)), Number(view.substr(6, 2)));
  if (!day || (*day + days).year() < 1) return std::nullopt;
  return Format(*day + days);
}

std::optional<std::string> ShiftOneDateTime(absl::string_view text, int days) {
  size_t digits = 0;
  while (digits < text.size() && absl::ascii_isdigit(static_cast<unsigned char>(text[digits]))) {
    ++digits;
  }
  absl::string_view rest = text.substr(digits);
  if (digits < 4 || digits > 14 || digits % 2 != 0) return std::nullopt;
  // Behind the digits: a fraction of one to six digits after seconds, and an offset &ZZXX.
  size_t at = 0;
  if (at < rest.size() && rest[at] == '.') {
    size_t end = at + 1;
    while (end < rest.size() && absl::ascii_isdigit(static_cast<unsigned char>(rest[end]))) ++end;
    if (digits != 14 || end == at + 1 || end > at + 7) return std::nullopt;
    at = end;
  }
  if (at < rest.size()) {
    if ((rest[at] != '+' && rest[at] != '-') || rest.size() - at != 5 ||
        !AllDigits(rest.substr(at + 1))) {
      return std::nullopt;
    }
  }
  int year = Number(text.substr(0, 4));
  int month = digits >= 6 ? Number(text.substr(4, 2)) : 7;
  int day_of_month = digits >= 8 ? Number(text.substr(6, 2)) : digits >= 6 ? 15 : 1;
  auto day = Day(year, month, day_of_month);
  if (!day || (*day + days).year() < 1) return std::nullopt;
  std::string shifted = Format(*day + days);
  size_t told = std::min<size_t>(digits, 8);
  return absl::StrCat(shifted.substr(0, told), text.substr(told));
}

template <typename Shift>
std::optional<std::string> EachValue(absl::string_view values, Shift shift) {
  std::vector<std::string> out;
  for (absl::string_view value : absl::StrSplit(values, '\\')) {
    value = dicom::Trimmed(value);
    if (value.empty()) {
      out.emplace_back();
      continue;
    }
    std::optional<std::string> shifted = shift(value);
    if (!shifted) return std::nullopt;
    out.push_back(*std::move(shifted));
  }
  return absl::StrJoin(out, "\\");
}

std::optional<std::string> CapOneAge(absl::string_view text) {
  if (text.size() != 4 || !AllDigits(text.substr(0, 3))) return std::nullopt;
  int number = Number(text.substr(0, 3));
  double years = 0;
  switch (text[3]) {
    case 'Y':
      years = number;
      break;
    case 'M':
      years = number / 12.0;
      break;
    case 'W':
      years = number / 52.18;
      break;
    case 'D':
      years = number / 365.25;
      break;
    default:
      return std::nullopt;
  }
  // 999M is 83 years: only ages in years can reach the cap, but the test is by age.
  if (years >= kAgeCap) return absl::StrFormat("%03dY", kAgeCap);
  return std::string(text);
}

}  // namespace

std::optional<std::string> ShiftDates(absl::string_view values, int days) {
  return EachValue(values, [days](absl::string_view value) -> std::optional<std::string> {
    size_t dash = value.find('-');
    if (dash == absl::string_view::npos) return ShiftOneDate(value, days);
    std::string out;
    for (absl::string_view part : {value.substr(0, dash), value.substr(dash + 1)}) {
      if (!part.empty()) {
        std::optional<std::string> shifted = ShiftOneDate(part, days);
        if (!shifted) return std::nullopt;
        out += *shifted;
      }
      if (out.find('-') == std::string::npos) out += '-';
    }
    return out;
  });
}

std::optional<std::string> ShiftDateTimes(absl::string_view values, int days) {
  return EachValue(values,
                   [days](absl::string_view value) { return ShiftOneDateTime(value, days); });
}

bool IsDay(absl::string_view digits) {
  if (digits.size() != 8 || !AllDigits(digits)) return false;
  const int year = Number(digits.substr(0, 4));
  return year >= 1900 && year < 2100 &&
         Day(year, Number(digits.substr(4, 2)), Number(digits.substr(6, 2))).has_value();
}

std::array<std::string, 6> SpellingsOfDay(absl::string_view day) {
  const absl::string_view y = day.substr(0, 4), m = day.substr(4, 2), d = day.substr(6);
  return {std::string(day),
          absl::StrCat(y, "-", m, "-", d),
          absl::StrCat(y, ".", m, ".", d),
          absl::StrCat(y, "/", m, "/", d),
          absl::StrCat(d, ".", m, ".", y),
          absl::StrCat(d, "/", m, "/", y)};
}

std::optional<std::string> CapAges(absl::string_view values) {
  return EachValue(values, CapOneAge);
}

bool KeepsUid(dicom::Tag tag, absl::string_view uid) {
  switch (tag) {
    case 0x00200052:  // frame of reference
    case 0x00200200:  // synchronization frame of reference
    case 0x30060024:  // referenced frame of reference
    case 0x300600c2:  // related frame of reference
    case 0x00640003:  // source frame of reference
      return dicom::StandardUidKind(uid) == dicom::UidKind::kFrameOfReference;
    case 0x00281199:  // palette color lookup table
      return dicom::StandardUidKind(uid) == dicom::UidKind::kInstance;
    default:
      return false;
  }
}

bool IsUid(absl::string_view uid) {
  return !uid.empty() && uid.size() <= 64 &&
         std::all_of(uid.begin(), uid.end(),
                     [](unsigned char c) { return absl::ascii_isdigit(c) || c == '.'; });
}

}  // namespace oncomesh::deidentification
