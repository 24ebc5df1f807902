// SPDX-License-Identifier: Apache-2.0
#include "services/deidentification/value_forms.h"

#include <algorithm>
#include <iterator>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "libs/dicom/file_meta.h"
#include "libs/dicom/uids.h"

namespace oncomesh::deidentification {
namespace {

constexpr dicom::Tag kBodyPartExamined = 0x00180015;

// A date or a telephone number has at least so many digits.
constexpr int kTellingDigits = 6;

// PS3.16 Annex L, those that are not made of words of the vocabulary. Ascending.
constexpr absl::string_view kBodyParts[] = {
    "ABDOMENPELVIS",
    "ARTERY",
    "BACK",
    "CALCANEUS",
    "CHEEK",
    "CHESTABDOMEN",
    "CHESTABDPELVIS",
    "CIRCLEOFWILLIS",
    "COCCYX",
    "CORNEA",
    "CORONARYARTERY",
    "CSPINE",
    "CTSPINE",
    "EAR",
    "ELBOW",
    "EYELID",
    "FOREFOOT",
    "HAND",
    "HEADNECK",
    "HEADNECKCHEST",
    "HINDFOOT",
    "IAC",
    "ILIUM",
    "LIMB",
    "LOWERLEG",
    "LOWERLIMB",
    "LSPINE",
    "LSSPINE",
    "MOUTH",
    "NECKCHEST",
    "NECKCHESTABDOMEN",
    "NECKCHESTABDPELV",
    "OPTICCANAL",
    "SCALP",
    "SCLERA",
    "SCROTUM",
    "SSPINE",
    "TESTICLE",
    "THUMB",
    "TLSPINE",
    "TMJ",
    "TOE",
    "TSPINE",
    "UPPERARM",
    "UPPERLIMB",
    "ZYGOMA",
};
static_assert(std::is_sorted(std::begin(kBodyParts), std::end(kBodyParts)));

// Words of coded strings in several words, beside those of the vocabulary. Ascending.
constexpr absl::string_view kCodeWords[] = {
    "AND",         "APEX",    "ARRAY",    "CINE",  "CLIP",  "COLOR",     "CSA",    "CYLINDRICAL",
    "DECUBITUS",   "FEET",    "FIRST",    "GRAY",  "LINE",  "LINEAR",    "LUT",    "MODE",
    "MONTE",       "PALETTE", "PARTS",    "PASS",  "RING",  "SCREEN",    "SECTOR", "SEPARATE",
    "SEQ",         "SHOOT",   "SINOGRAM", "SLAB",  "SPI",   "SPREAD",    "STEP",   "STEREOTACTIC",
    "SYNTHESIZED", "TO",      "TOPOGRAM", "TRACK", "TRUNC", "TRUNCATED", "VECTOR",
};
static_assert(std::is_sorted(std::begin(kCodeWords), std::end(kCodeWords)));

template <size_t N>
bool Contains(const absl::string_view (&words)[N], absl::string_view word) {
  return std::binary_search(std::begin(words), std::end(words), word);
}

bool IsDigit(char c) { return absl::ascii_isdigit(static_cast<unsigned char>(c)); }

bool AllDigits(absl::string_view text) { return std::all_of(text.begin(), text.end(), IsDigit); }

// [+-]digits[.digits][E[+-]digits], without padding; at least one digit.
bool IsNumber(absl::string_view text) {
  size_t i = 0;
  auto sign = [&] {
    if (i < text.size() && (text[i] == '+' || text[i] == '-')) ++i;
  };
  auto digits = [&] {
    size_t from = i;
    while (i < text.size() && IsDigit(text[i])) ++i;
    return i - from;
  };
  sign();
  size_t seen = digits();
  if (i < text.size() && text[i] == '.') {
    ++i;
    seen += digits();
  }
  if (seen == 0) return false;
  if (i < text.size() && (text[i] == 'e' || text[i] == 'E')) {
    ++i;
    sign();
    if (digits() == 0) return false;
  }
  return i == text.size();
}

int TwoDigits(absl::string_view text) { return (text[0] - '0') * 10 + text[1] - '0'; }

// HH[MM[SS[.F{1,6}]]], also with colons as the edition of 1985 had it.
bool IsTime(absl::string_view text) {
  const int most[] = {23, 59, 60};
  bool colons = text.size() > 2 && text[2] == ':';
  for (int part = 0; part < 3; ++part) {
    if (part > 0 && text.empty()) return true;
    if (part > 0 && colons && !absl::ConsumePrefix(&text, ":")) return false;
    if (text.size() < 2 || !AllDigits(text.substr(0, 2)) || TwoDigits(text) > most[part]) {
      return false;
    }
    text.remove_prefix(2);
  }
  if (text.empty()) return true;
  return text[0] == '.' && text.size() >= 2 && text.size() <= 7 && AllDigits(text.substr(1));
}

// Character sets and compression methods are numbers of ISO standards.
bool IsIsoTerm(absl::string_view value) {
  if (absl::ConsumePrefix(&value, "ISO_IR ") || absl::ConsumePrefix(&value, "ISO 2022 IR ")) {
    return !value.empty() && value.size() <= 3 && AllDigits(value);
  }
  for (absl::string_view number :
       {"10918", "13818", "14495", "14496", "15444", "15948", "18181", "23008"}) {
    absl::string_view rest = value;
    if (absl::ConsumePrefix(&rest, "ISO_") && absl::ConsumePrefix(&rest, number) &&
        absl::ConsumePrefix(&rest, "_") && rest.size() <= 2 && AllDigits(rest)) {
      return true;
    }
  }
  return false;
}

}  // namespace

bool IsNumberText(absl::string_view values) {
  // Contours are megabytes of this.
  for (size_t from = 0; from <= values.size();) {
    size_t end = std::min(values.find('\\', from), values.size());
    absl::string_view value = dicom::Trimmed(values.substr(from, end - from));
    if (!value.empty() && !IsNumber(value)) return false;
    from = end + 1;
  }
  return true;
}

bool IsTimeText(absl::string_view values) {
  for (absl::string_view value : absl::StrSplit(values, '\\')) {
    value = dicom::Trimmed(value);
    if (value.empty()) continue;
    size_t dash = value.find('-');
    if (dash == absl::string_view::npos) {
      if (!IsTime(value)) return false;
      continue;
    }
    absl::string_view from = value.substr(0, dash), to = value.substr(dash + 1);
    if ((from.empty() && to.empty()) || (!from.empty() && !IsTime(from)) ||
        (!to.empty() && !IsTime(to))) {
      return false;
    }
  }
  return true;
}

bool IsNumbers(absl::string_view value, size_t width, size_t most_values) {
  return value.size() % width == 0 && (most_values == 0 || value.size() <= most_values * width) &&
         !ReadsAsText(value);
}

bool ReadsAsText(absl::string_view value) {
  if (value.size() < 16) return false;
  absl::string_view text = value;
  while (!text.empty() && text.back() == '\0') text.remove_suffix(1);
  return text.size() >= 8 && std::all_of(text.begin(), text.end(), [](unsigned char c) {
           return absl::ascii_isprint(c) || absl::ascii_isspace(c);
         });
}

bool IsSnomedId(absl::string_view value) {
  value = dicom::Trimmed(value);
  if (value.size() < 6 || value.size() > 18 || value[0] == '0' ||
      !std::all_of(value.begin(), value.end(), IsDigit)) {
    return false;
  }
  // Short and long format of concepts, descriptions and relationships.
  const absl::string_view partition = value.substr(value.size() - 3, 2);
  if ((partition[0] != '0' && partition[0] != '1') || partition[1] > '2') return false;
  // The dihedral group of order ten, as rotations 0-4 and reflections 5-9.
  auto times = [](int a, int b) {
    if (a < 5) return b < 5 ? (a + b) % 5 : 5 + (a + b - 5) % 5;
    return b < 5 ? 5 + (a - 5 - b + 5) % 5 : (a - b + 5) % 5;
  };
  constexpr int kPermutation[] = {1, 5, 7, 6, 2, 8, 3, 0, 9, 4};
  int check = 0;
  for (size_t i = 0; i < value.size(); ++i) {
    int digit = value[value.size() - 1 - i] - '0';
    for (size_t k = 0; k < i % 8; ++k) digit = kPermutation[digit];
    check = times(check, digit);
  }
  return check == 0;
}

bool IsCodeString(dicom::Tag tag, absl::string_view value, const Vocabulary& vocabulary) {
  value = dicom::Trimmed(value);
  if (value.size() > 16) return false;
  int digits = 0;
  bool words = false;
  for (char c : value) {
    if (IsDigit(c)) {
      ++digits;
    } else if (c == ' ') {
      words = true;
    } else if (!absl::ascii_isupper(static_cast<unsigned char>(c)) && c != '_' && c != '-' &&
               c != '.' && c != '/' && c != '+') {
      return false;
    }
  }
  if (IsIsoTerm(value)) return true;
  if (digits >= kTellingDigits) return false;
  const bool body_part = tag == kBodyPartExamined;
  if (!words && !body_part) return true;
  for (absl::string_view word :
       absl::StrSplit(value, absl::ByAnyChar(body_part ? " _-./+" : " "), absl::SkipEmpty())) {
    if (vocabulary.Knows(word)) continue;
    if (body_part ? Contains(kBodyParts, word) : Contains(kCodeWords, word)) continue;
    // CT_SOM5, 3D: a name has neither.
    bool technical =
        std::any_of(word.begin(), word.end(), [](char c) { return IsDigit(c) || c == '_'; });
    if (!technical || body_part) return false;
  }
  return true;
}

bool IsPublicClassUid(absl::string_view uid) {
  if (dicom::StandardUidKind(uid) != dicom::UidKind::kNone) return true;
  return absl::ConsumePrefix(&uid, "2.16.840.1.113883.6.") && !uid.empty() && uid.size() <= 4 &&
         AllDigits(uid);
}

}  // namespace oncomesh::deidentification
