// SPDX-License-Identifier: Apache-2.0
#include "services/deidentification/clinical_table.h"

#include <algorithm>
#include <cctype>
#include <iterator>
#include <optional>
#include <set>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "libs/base/error.h"
#include "libs/base/status_macros.h"
#include "libs/terminology/registry.h"
#include "services/deidentification/values.h"

namespace oncomesh::deidentification {
namespace {

struct Row {
  uint64_t line = 0;
  std::vector<std::string> fields;
  bool broken_quotes = false;
};

// Reads one record at a time. A quoted field may hold separators and line ends.
class CsvReader {
 public:
  CsvReader(absl::string_view text, char separator) : text_(text), separator_(separator) {}

  bool Next(Row& row) {
    row = Row();
    if (at_ >= text_.size()) return false;
    row.line = line_;
    std::string field;
    bool quoted = false;
    for (;;) {
      if (at_ >= text_.size()) break;
      char c = text_[at_++];
      if (quoted) {
        if (c == '"' && at_ < text_.size() && text_[at_] == '"') {
          field.push_back('"');
          ++at_;
        } else if (c == '"') {
          quoted = false;
        } else {
          if (c == '\n') ++line_;
          field.push_back(c);
        }
        continue;
      }
      if (c == '"' && field.empty()) {
        quoted = true;
      } else if (c == separator_) {
        // More fields than any heading names are counted as one too many and not held.
        if (row.fields.size() <= kMaxTableColumns) row.fields.push_back(std::move(field));
        field.clear();
      } else if (c == '\n') {
        ++line_;
        if (row.fields.size() <= kMaxTableColumns) row.fields.push_back(std::move(field));
        Strip(row);
        return true;
      } else if (c != '\r') {
        field.push_back(c);
      }
    }
    row.broken_quotes = quoted;
    if (row.fields.size() <= kMaxTableColumns) row.fields.push_back(std::move(field));
    Strip(row);
    return true;
  }

 private:
  static void Strip(Row& row) {
    for (std::string& field : row.fields) field = std::string(absl::StripAsciiWhitespace(field));
  }

  absl::string_view text_;
  char separator_;
  size_t at_ = 0;
  uint64_t line_ = 1;
};

bool IsBlank(const Row& row) {
  return std::all_of(row.fields.begin(), row.fields.end(),
                     [](const std::string& field) { return field.empty(); });
}

// kVariable: a variable of the registry, whose cells must look like its values.
enum class Role { kPatient, kIssuer, kDate, kAge, kVariable, kText, kDrop };

// A column's name without case and punctuation: "Patient ID" and "patient_id" are one.
std::string Plain(absl::string_view name) {
  std::string out;
  for (char c : name) {
    if (absl::ascii_isalnum(static_cast<unsigned char>(c))) out.push_back(absl::ascii_tolower(c));
  }
  return out;
}

std::vector<std::string> Words(absl::string_view name) {
  std::vector<std::string> out;
  std::string word;
  char before = 0;
  for (char c : name) {
    bool alnum = absl::ascii_isalnum(static_cast<unsigned char>(c));
    bool hump = absl::ascii_isupper(static_cast<unsigned char>(c)) &&
                absl::ascii_islower(static_cast<unsigned char>(before));
    if ((!alnum || hump) && !word.empty()) {
      out.push_back(std::move(word));
      word.clear();
    }
    if (alnum) word.push_back(absl::ascii_tolower(c));
    before = c;
  }
  if (!word.empty()) out.push_back(std::move(word));
  return out;
}

bool HasAny(const std::vector<std::string>& words,
            std::initializer_list<absl::string_view> wanted) {
  for (const std::string& word : words) {
    if (std::find(wanted.begin(), wanted.end(), absl::string_view(word)) != wanted.end()) {
      return true;
    }
  }
  return false;
}

// A date of birth in the languages of the hospitals we know of, however the word is put together.
bool NamesBirth(absl::string_view plain, const std::vector<std::string>& words) {
  for (absl::string_view part : {"birth", "geburt", "geboort", "naiss", "nacim", "nascim", "nascit",
                                 "fodsel", "fodelse", "urodz", "narozen", "syntym"}) {
    if (absl::StrContains(plain, part)) return true;
  }
  return HasAny(words, {"born", "dob", "geb", "gebdat", "nac", "fnac", "ddn", "nato", "nata"});
}

// The number of one of several like columns.
bool IsOrdinal(absl::string_view word) {
  return word.size() <= 2 && std::all_of(word.begin(), word.end(),
                                         [](unsigned char c) { return absl::ascii_isdigit(c); });
}

// A date of something that is known to happen to a patient: "diagnosis_date", "Date of last
// follow-up". What a word nobody knows dates may be the birth, as in "b_date".
bool NamesDate(const std::vector<std::string>& words) {
  static const auto& kEvents = *new std::set<std::string, std::less<>>{"of",
                                                                       "the",
                                                                       "at",
                                                                       "to",
                                                                       "for",
                                                                       "first",
                                                                       "last",
                                                                       "latest",
                                                                       "initial",
                                                                       "primary",
                                                                       "second",
                                                                       "start",
                                                                       "started",
                                                                       "begin",
                                                                       "end",
                                                                       "stop",
                                                                       "stopped",
                                                                       "date",
                                                                       "datetime",
                                                                       "timestamp",
                                                                       "day",
                                                                       "time",
                                                                       "diagnosis",
                                                                       "dx",
                                                                       "visit",
                                                                       "study",
                                                                       "series",
                                                                       "scan",
                                                                       "image",
                                                                       "imaging",
                                                                       "exam",
                                                                       "examination",
                                                                       "acquisition",
                                                                       "injection",
                                                                       "ct",
                                                                       "mr",
                                                                       "mri",
                                                                       "pet",
                                                                       "surgery",
                                                                       "operation",
                                                                       "resection",
                                                                       "biopsy",
                                                                       "pathology",
                                                                       "histology",
                                                                       "sample",
                                                                       "specimen",
                                                                       "treatment",
                                                                       "therapy",
                                                                       "rt",
                                                                       "radiotherapy",
                                                                       "radiation",
                                                                       "chemo",
                                                                       "chemotherapy",
                                                                       "drug",
                                                                       "cycle",
                                                                       "follow",
                                                                       "followup",
                                                                       "up",
                                                                       "contact",
                                                                       "seen",
                                                                       "alive",
                                                                       "death",
                                                                       "died",
                                                                       "event",
                                                                       "outcome",
                                                                       "status",
                                                                       "relapse",
                                                                       "recurrence",
                                                                       "progression",
                                                                       "metastasis",
                                                                       "metastases",
                                                                       "response",
                                                                       "local",
                                                                       "distant",
                                                                       "regional",
                                                                       "admission",
                                                                       "discharge",
                                                                       "enrolment",
                                                                       "enrollment",
                                                                       "inclusion",
                                                                       "registration",
                                                                       "randomisation",
                                                                       "randomization",
                                                                       "consent",
                                                                       "baseline",
                                                                       "staging",
                                                                       "restaging",
                                                                       "assessment",
                                                                       "evaluation",
                                                                       "report",
                                                                       "pre",
                                                                       "post",
                                                                       "planning"};
  return std::all_of(words.begin(), words.end(), [](const std::string& word) {
    return kEvents.count(word) > 0 || IsOrdinal(word);
  });
}

// An age in years, of the patient, at something that is known to happen to one: "age at diagnosis".
// A heading leaves as it stands, so that a word nobody knows may be anything; and an age in another
// unit ("age_mo") could not be capped.
bool NamesAge(const std::vector<std::string>& words) {
  std::vector<std::string> others;
  for (const std::string& word : words) {
    constexpr absl::string_view kWords[] = {"age",      "in",      "years",   "year",
                                            "yrs",      "yr",      "y",       "patient",
                                            "patients", "subject", "current", "dicom"};
    if (std::find(std::begin(kWords), std::end(kWords), word) == std::end(kWords)) {
      others.push_back(word);
    }
  }
  return !HasAny(words, {"day", "time", "cycle"}) && NamesDate(others);
}

// The variable that is read from this column, or nullptr.
const terminology::Variable* VariableOf(absl::string_view name) {
  std::string lower = absl::AsciiStrToLower(name);
  for (const auto& variable : terminology::Registry::Builtin().variables()) {
    const std::vector<std::string>& columns = variable->source.clinical;
    if (std::find(columns.begin(), columns.end(), lower) != columns.end()) return variable.get();
  }
  return nullptr;
}

Role RoleByName(absl::string_view name, const Profile& profile) {
  const std::string plain = Plain(name);
  const std::vector<std::string> words = Words(name);
  if (std::find(profile.table_columns.begin(), profile.table_columns.end(),
                absl::AsciiStrToLower(name)) != profile.table_columns.end()) {
    return Role::kText;
  }
  for (absl::string_view patient : {"patientid", "patient", "subject", "subjectid", "participant",
                                    "participantid", "patid", "mrn", "caseid", "pid"}) {
    if (plain == patient) return Role::kPatient;
  }
  if (plain == "issuer" || plain == "issuerofpatientid" || plain == "patientidissuer") {
    return Role::kIssuer;
  }
  // Who, where and how to reach: never, whatever the cells look like.
  if (HasAny(words,
             {"name",     "surname",    "forename",  "firstname",   "lastname",  "initials",
              "address",  "street",     "city",      "town",        "zip",       "zipcode",
              "postcode", "postal",     "phone",     "telephone",   "mobile",    "fax",
              "email",    "mail",       "url",       "ssn",         "nhs",       "insurance",
              "insurer",  "account",    "licence",   "license",     "physician", "doctor",
              "referrer", "operator",   "hospital",  "institution", "ward",      "occupation",
              "religion", "ethnicity",  "ethnic",    "race",        "birth",     "birthdate",
              "birthday", "dob",        "born",      "comment",     "comments",  "note",
              "notes",    "remark",     "remarks",   "history",     "narrative", "report",
              "mrn",      "identifier", "accession", "passport"}) ||
      plain == "id" || (!words.empty() && words.back() == "id") || NamesBirth(plain, words)) {
    return Role::kDrop;
  }
  if ((HasAny(words, {"date", "datetime", "timestamp", "day"}) && !HasAny(words, {"days"})) ||
      plain == "lastfollowup" || plain == "lastcontact") {
    return NamesDate(words) || VariableOf(name) != nullptr ? Role::kDate : Role::kDrop;
  }
  if (HasAny(words, {"age"})) {
    return NamesAge(words) || VariableOf(name) != nullptr ? Role::kAge : Role::kDrop;
  }
  // A column that nobody knows may hold anything, whatever its cells look like: a telephone number
  // looks like a code and a postcode like a measurement.
  return VariableOf(name) != nullptr ? Role::kVariable : Role::kDrop;
}

std::optional<double> NumberOf(absl::string_view text) {
  double value = 0;
  size_t digits = static_cast<size_t>(std::count_if(
      text.begin(), text.end(), [](unsigned char c) { return absl::ascii_isdigit(c); }));
  // Whole numbers of seven digits and more name somebody as often as they measure something.
  bool whole = digits == text.size();
  if (text.empty() || (whole && digits > 6) || digits == 0 || text.size() > 24) return std::nullopt;
  if (!absl::SimpleAtod(text, &value)) return std::nullopt;
  return value;
}

struct SplitDate {
  absl::string_view date;  // YYYYMMDD or YYYY-MM-DD
  absl::string_view time;  // what follows, separator included
};

// [T ]HH[:MM[:SS[.fraction]]][Z|±HH[:]MM]: anything else behind a date is a number of another kind.
bool IsTimeOfDay(absl::string_view text) {
  auto digits = [&](size_t count) {
    if (text.size() < count ||
        !std::all_of(text.begin(), text.begin() + count,
                     [](unsigned char c) { return absl::ascii_isdigit(c); })) {
      return false;
    }
    text.remove_prefix(count);
    return true;
  };
  if (!absl::ConsumePrefix(&text, "T") && !absl::ConsumePrefix(&text, " ")) return false;
  if (!digits(2)) return false;
  if (absl::ConsumePrefix(&text, ":")) {
    if (!digits(2)) return false;
    if (absl::ConsumePrefix(&text, ":")) {
      if (!digits(2)) return false;
      if (absl::ConsumePrefix(&text, ".")) {
        size_t fraction = 0;
        while (digits(1)) ++fraction;
        if (fraction == 0 || fraction > 9) return false;
      }
    }
  }
  if (text.empty() || text == "Z") return true;
  if (!absl::ConsumePrefix(&text, "+") && !absl::ConsumePrefix(&text, "-")) return false;
  if (!digits(2)) return false;
  if (text.empty()) return true;
  absl::ConsumePrefix(&text, ":");
  return digits(2) && text.empty();
}

std::optional<SplitDate> DateOf(absl::string_view text) {
  auto digits = [&](size_t from, size_t count) {
    if (text.size() < from + count) return false;
    return std::all_of(text.begin() + static_cast<long>(from),
                       text.begin() + static_cast<long>(from + count),
                       [](unsigned char c) { return absl::ascii_isdigit(c); });
  };
  SplitDate out;
  if (digits(0, 8)) {
    out.date = text.substr(0, 8);
  } else if (digits(0, 4) && text.size() >= 10 && text[4] == '-' && digits(5, 2) &&
             text[7] == '-' && digits(8, 2)) {
    out.date = text.substr(0, 10);
  } else {
    return std::nullopt;
  }
  out.time = text.substr(out.date.size());
  if (!out.time.empty() && !IsTimeOfDay(out.time)) return std::nullopt;
  return out;
}

std::optional<std::string> ShiftCell(absl::string_view text, int days) {
  std::optional<SplitDate> parts = DateOf(text);
  if (!parts) return std::nullopt;
  bool dashes = parts->date.size() == 10;
  std::string plain(parts->date);
  plain.erase(std::remove(plain.begin(), plain.end(), '-'), plain.end());
  std::optional<std::string> shifted = ShiftDates(plain, days);
  if (!shifted) return std::nullopt;
  if (dashes) {
    shifted->insert(6, 1, '-');
    shifted->insert(4, 1, '-');
  }
  return absl::StrCat(*shifted, parts->time);
}

// A code of a classification: letters and digits in a short group that has both, such as C50.4,
// 8500/3, pT2N0, IIIA — but no long number.
bool IsCode(absl::string_view text) {
  // One letter: a sex, a side, a grade.
  if (text.size() == 1 && absl::ascii_isalpha(static_cast<unsigned char>(text[0]))) return true;
  if (text.empty() || text.size() > 24) return false;
  size_t digits_in_row = 0;
  size_t letters_in_row = 0;
  bool digit = false;
  for (unsigned char c : text) {
    if (absl::ascii_isdigit(c)) {
      digit = true;
      letters_in_row = 0;
      if (++digits_in_row > 4) return false;
    } else if (absl::ascii_isalpha(c)) {
      digits_in_row = 0;
      // A word of letters is a word, not a code.
      if (++letters_in_row > 3) return false;
    } else if (absl::string_view("./-+:()").find(static_cast<char>(c)) != absl::string_view::npos) {
      digits_in_row = letters_in_row = 0;
    } else {
      return false;
    }
  }
  return digit;
}

// Stage groups and grades in Roman numerals.
bool IsRoman(absl::string_view text) {
  size_t numerals = 0;
  while (numerals < text.size() &&
         absl::string_view("IVX").find(text[numerals]) != absl::string_view::npos) {
    ++numerals;
  }
  return numerals > 0 && numerals <= 4 && text.size() - numerals <= 2 &&
         std::all_of(text.begin() + static_cast<long>(numerals), text.end(), [](unsigned char c) {
           return (c >= 'A' && c <= 'C') || (c >= '1' && c <= '3');
         });
}

bool IsTerm(absl::string_view text, const Vocabulary& vocabulary) {
  if (text.size() > 64) return false;
  for (absl::string_view word : absl::StrSplit(text, absl::ByAnyChar(" _-/,"), absl::SkipEmpty())) {
    if (!vocabulary.Knows(word)) return false;
  }
  return true;
}

// Whether a cell can be a value of the variable: one of its own, a short code that is none of them
// (9 for unknown), or a word of medicine.
bool FitsVariable(absl::string_view cell, const terminology::Variable& variable,
                  const Vocabulary& vocabulary) {
  if (variable.numeric()) return NumberOf(cell).has_value();
  if (IsRoman(cell) || IsTerm(cell, vocabulary)) return true;
  const bool described = variable.closed || !variable.code_system.shape.empty();
  if (described && variable.NormaliseCode(cell).ok()) return true;
  return IsCode(cell) && (!described || cell.size() <= 4);
}

std::string Quoted(absl::string_view field) {
  if (field.find_first_of("\",\n\r") == absl::string_view::npos) return std::string(field);
  std::string out = "\"";
  for (char c : field) {
    if (c == '"') out.push_back('"');
    out.push_back(c);
  }
  out.push_back('"');
  return out;
}

absl::Status Refuse(absl::string_view reason, absl::string_view message) {
  return base::Error(absl::StatusCode::kInvalidArgument, reason, message);
}

// The column that is called patient_id, or the only one that may be the patient's: a guess between
// a number of cases and an identifier would give every row another patient's code.
absl::StatusOr<size_t> PatientColumn(const std::vector<std::string>& names,
                                     const std::vector<Role>& roles) {
  std::vector<size_t> named, possible;
  for (size_t i = 0; i < roles.size(); ++i) {
    if (roles[i] != Role::kPatient) continue;
    possible.push_back(i);
    if (Plain(names[i]) == "patientid") named.push_back(i);
  }
  if (possible.empty()) {
    return Refuse("TABLE_PATIENT_COLUMN_MISSING",
                  "no column names the patient; call it patient_id");
  }
  if (named.empty()) named = possible;
  if (named.size() == 1) return named[0];
  return Refuse("TABLE_PATIENT_COLUMN_AMBIGUOUS",
                "several columns may name the patient; call the one with the identifiers of the "
                "images patient_id, and no other");
}

char SeparatorOf(absl::string_view heading) {
  char best = ',';
  long most = 0;
  for (char candidate : {',', ';', '\t'}) {
    long count = std::count(heading.begin(), heading.end(), candidate);
    if (count > most) {
      most = count;
      best = candidate;
    }
  }
  return best;
}

}  // namespace

absl::StatusOr<TableOutcome> PseudonymiseTable(absl::string_view csv,
                                               const Deidentifier& deidentifier) {
  if (csv.size() > kMaxTableBytes) {
    return Refuse("TABLE_TOO_LARGE", "the table is larger than 256 MiB; split it");
  }
  if (absl::StartsWith(csv, "\xef\xbb\xbf")) csv.remove_prefix(3);
  if (absl::StripAsciiWhitespace(csv).empty()) {
    return Refuse("TABLE_EMPTY", "the table has no heading");
  }
  const char separator = SeparatorOf(csv.substr(0, csv.find('\n')));
  CsvReader reader(csv, separator);
  Row heading;
  reader.Next(heading);
  std::set<std::string> names;
  for (const std::string& name : heading.fields) {
    if (name.empty() || name.size() > 128 || !names.insert(name).second) {
      return Refuse("TABLE_HEADING_INVALID",
                    "the first line must name every column once, with at most 128 characters");
    }
  }
  if (heading.broken_quotes || heading.fields.size() > kMaxTableColumns) {
    return Refuse("TABLE_HEADING_INVALID", "the first line is no heading of at most 1024 columns");
  }
  const Profile& profile = deidentifier.profile();
  const size_t columns = heading.fields.size();
  std::vector<Role> roles;
  for (const std::string& name : heading.fields) roles.push_back(RoleByName(name, profile));
  ASSIGN_OR_RETURN(const size_t patient_column, PatientColumn(heading.fields, roles));
  // A second name for the patient would be a second identifier.
  for (size_t i = 0; i < columns; ++i) {
    if (roles[i] == Role::kPatient && i != patient_column) roles[i] = Role::kDrop;
  }
  size_t issuer_column = columns;
  for (size_t i = 0; i < columns; ++i) {
    if (roles[i] == Role::kIssuer) issuer_column = i;
  }

  std::vector<const terminology::Variable*> variables;
  for (const std::string& name : heading.fields) variables.push_back(VariableOf(name));

  // First pass: one cell that fits nothing drops the column of a variable.
  std::vector<bool> fits(columns, true);
  Row row;
  while (reader.Next(row)) {
    if (row.broken_quotes || row.fields.size() != columns || IsBlank(row)) continue;
    for (size_t i = 0; i < columns; ++i) {
      if (roles[i] != Role::kVariable || !fits[i] || row.fields[i].empty()) continue;
      fits[i] = FitsVariable(row.fields[i], *variables[i], deidentifier.vocabulary());
    }
  }
  TableOutcome out;
  for (size_t i = 0; i < columns; ++i) {
    if (!fits[i]) roles[i] = Role::kDrop;
    if (roles[i] == Role::kDate && !profile.shift_dates) roles[i] = Role::kDrop;
    if (roles[i] == Role::kAge && !profile.retain_patient_characteristics) roles[i] = Role::kDrop;
  }
  auto kept = [&](size_t i) { return roles[i] != Role::kDrop && roles[i] != Role::kIssuer; };
  std::vector<std::string> line;
  auto write_line = [&] {
    absl::StrAppend(&out.csv, absl::StrJoin(line, ","), "\n");
    line.clear();
  };
  for (size_t i = 0; i < columns; ++i) {
    if (!kept(i)) {
      ++out.columns_dropped;
      continue;
    }
    ++out.columns_kept;
    line.push_back(i == patient_column ? "patient_id" : Quoted(heading.fields[i]));
  }
  write_line();

  auto count = [&](Done what) { ++out.done[static_cast<size_t>(what)]; };
  const Keys& keys = deidentifier.pseudonym_keys();
  reader = CsvReader(csv, separator);
  reader.Next(row);
  while (reader.Next(row)) {
    if (IsBlank(row)) continue;
    ++out.rows;
    auto quarantine = [&](const char* reason) {
      out.quarantined.push_back({row.line, reason});
      line.clear();
    };
    if (row.broken_quotes) {
      quarantine("ROW_QUOTES");
      continue;
    }
    if (row.fields.size() != columns) {
      quarantine("ROW_COLUMNS");
      continue;
    }
    absl::string_view issuer;
    if (issuer_column < columns) issuer = row.fields[issuer_column];
    std::string who = deidentifier.PatientOf(row.fields[patient_column], issuer);
    if (who.empty()) {
      quarantine("ROW_PATIENT_MISSING");
      continue;
    }
    std::string code = keys.PatientCode(who);
    const int days = keys.DateOffsetDays(who);
    const char* reason = nullptr;
    for (size_t i = 0; i < columns && reason == nullptr; ++i) {
      const std::string& cell = row.fields[i];
      if (!kept(i)) continue;
      if (i == patient_column) {
        line.push_back(code);
        count(Done::kReplaced);
        continue;
      }
      if (cell.empty()) {
        line.emplace_back();
        continue;
      }
      switch (roles[i]) {
        case Role::kDate: {
          std::optional<std::string> shifted = ShiftCell(cell, days);
          if (!shifted) {
            reason = "ROW_DATE_INVALID";
            break;
          }
          line.push_back(*std::move(shifted));
          count(Done::kDatesShifted);
          break;
        }
        case Role::kAge: {
          std::optional<double> age = NumberOf(cell);
          std::optional<std::string> dicom_age = age ? std::nullopt : CapAges(cell);
          if (dicom_age) {
            if (*dicom_age != cell) count(Done::kAgesCapped);
            line.push_back(*std::move(dicom_age));
          } else if (!age || *age < 0) {
            reason = "ROW_AGE_INVALID";
          } else if (*age >= kAgeCap) {
            line.push_back(absl::StrCat(kAgeCap));
            if (*age > kAgeCap) count(Done::kAgesCapped);
          } else {
            line.push_back(cell);
          }
          break;
        }
        default:
          line.push_back(Quoted(cell));
      }
    }
    if (reason != nullptr) {
      quarantine(reason);
      continue;
    }
    ++out.released;
    out.patients.insert(std::move(code));
    write_line();
  }
  return out;
}

}  // namespace oncomesh::deidentification
