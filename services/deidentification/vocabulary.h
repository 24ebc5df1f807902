// SPDX-License-Identifier: Apache-2.0
// Short descriptions, cleaned word by word: a word stays when it is a term of imaging or oncology
// and none of the patient's own words. What is not known to be harmless goes.
#pragma once

#include <set>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"

namespace oncomesh::deidentification {

// Upper-case words and numbers that point at one patient: parts of names, identifiers.
using IdentifyingWords = std::set<std::string, std::less<>>;

// Immutable; any thread.
class Vocabulary {
 public:
  // The built-in terms and `more` (upper case).
  explicit Vocabulary(std::vector<std::string> more = {});

  // True for a term, in any case.
  bool Knows(absl::string_view word) const;

  // What stays of `text`: known words, and numbers of at most three digits that are not part of a
  // date, a time, a telephone number or an age, with single separators between them. Numbers that
  // nothing but punctuation and unknown words stand between belong together: three of them, six
  // digits, or the digits of an identifier are telling. May be empty. `text` can be in any
  // character set; other letters than A-Z never stay.
  std::string Clean(absl::string_view text, const IdentifyingWords& identifying) const;

 private:
  std::set<std::string, std::less<>> words_;
};

// Whether `text`, which may hold the numbers of versions and models, has a date or a telephone
// number: three and more numbers, of six digits and more together, with blanks, dashes or slashes
// between them, or two dots and a year; nine digits in a row; eight that are a day and no part of a
// version with dots.
bool HasTellingNumbers(absl::string_view text);

// The words and numbers of `text` in upper case, of at least two characters, added to `out`; with
// each group of letters and digits also its letters and its digits alone.
void AddIdentifyingWords(absl::string_view text, IdentifyingWords& out);

// The groups of letters and digits of `text` in upper case, in their order. Bytes above 127 are
// letters.
std::vector<std::string> WordGroups(absl::string_view text);

}  // namespace oncomesh::deidentification
