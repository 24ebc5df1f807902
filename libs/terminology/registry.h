// SPDX-License-Identifier: Apache-2.0
// The variables people may ask about: what each means, at which level it stands, how its values
// are written, where they come from. Hub and nodes share the registry that is compiled in
// (data/variables.json); a site adds variables of its own with a file of the same form.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/optional.h"

namespace oncomesh::terminology {

// What a row describes. The order matters: a level is finer than those before it.
enum class Level { kPatient, kStudy, kSeries };
absl::string_view LevelName(Level level);  // "patient"

enum class Type {
  kCode,     // a code of a code system, or an element of a list
  kInteger,  // a whole number
  kDecimal,  // a finite number
  kYear,     // a calendar year
};
absl::string_view TypeName(Type type);  // "code"

// A system of codes and how "below" reads in it: a code is below another when it continues it after
// one of `separators` (C50.4 is below C50), or when a value of the variable names it as its parent.
struct CodeSystem {
  std::string name;
  std::string title;
  std::string separators;  // characters; empty: codes are not nested by spelling
  // What a code must look like; empty: 1 to 64 printable characters. 'A' is a letter, '9' a digit,
  // 'X' either, brackets hold an optional tail; everything else stands for itself.
  std::string shape;
};

struct Value {
  std::string code;
  std::string label;
  std::string parent;             // a code of the same variable, or empty
  std::vector<std::string> also;  // other spellings that mean this code
};

struct Source {
  std::string dicom;  // tag as eight hexadecimal digits, e.g. "00080060"; empty: none
  std::string rule;   // how the tag's value is read: "" as it stands, "age", "unmodified_year"
  std::vector<std::string> clinical;  // columns of the clinical table, the first that is there
  std::string derived;                // what the index computes itself: "instances"
};

struct Variable {
  std::string name;
  Level level = Level::kPatient;
  Type type = Type::kCode;
  CodeSystem code_system;  // of codes
  std::string unit;        // UCUM-like word, of numbers
  std::string description;
  std::vector<Value> values;  // known codes
  bool closed = false;        // only the codes in `values` exist
  std::vector<double>
      bands;           // lower edges for grouping numbers, ascending; empty: cannot be grouped
  double minimum = 0;  // of numbers, inclusive
  double maximum = 0;
  Source source;

  bool numeric() const { return type != Type::kCode; }

  // The one spelling of a code under which it is stored and compared: surrounding space removed,
  // inner space made single, another spelling replaced by its code, else upper case.
  // Errors: INVALID_ARGUMENT (VALUE_INVALID) when the code does not exist or has not its system's
  // shape; the message holds the accepted form, never the value.
  absl::StatusOr<std::string> NormaliseCode(absl::string_view text) const;

  // The number of a text in decimal notation.
  // Errors: INVALID_ARGUMENT (VALUE_INVALID) when it is none, not whole where it must be, or out of
  // the variable's range.
  absl::StatusOr<double> ParseNumber(absl::string_view text) const;

  // True when normalised `code` is `ancestor` or below it.
  bool IsOrIsBelow(absl::string_view code, absl::string_view ancestor) const;

  // Index of the band of `number`, or -1 below the first.
  int BandOf(double number) const;
  // "50-59" for whole numbers, "1-2" (lower edge included) for decimals, "90+" for the last.
  std::string BandLabel(int band) const;
};

// Immutable once made; any thread may read it.
class Registry {
 public:
  // The registry compiled in. Lives as long as the process.
  static const Registry& Builtin();

  // A registry of JSON `texts` in the form of data/variables.json; later ones add code systems and
  // variables. Errors: INVALID_ARGUMENT (REGISTRY_INVALID) naming the entry.
  static absl::StatusOr<Registry> Parse(const std::vector<std::string>& texts);
  // The compiled-in registry and the variables in `files`. Errors: those of ReadFile and Parse.
  static absl::StatusOr<Registry> WithFiles(const std::vector<std::string>& files);

  // nullptr when there is no such variable.
  const Variable* Find(absl::string_view name) const;
  const std::vector<std::unique_ptr<Variable>>& variables() const { return variables_; }
  // A longer name is no variable's.
  static constexpr size_t kMaxNameBytes = 63;
  // The name nearest to `name`, when one is near enough to be what was meant; else empty.
  std::string Nearest(absl::string_view name) const;
  // "2027.1", of the compiled-in part.
  const std::string& version() const { return version_; }

 private:
  friend class RegistryReader;
  std::string version_;
  std::vector<std::unique_ptr<Variable>> variables_;  // in the order of the files
  std::map<std::string, const Variable*> by_name_;
};

// A number as it is written everywhere: shortest decimal notation, no exponent below 1e15, no
// trailing zeros ("50", "2.5").
std::string FormatNumber(double number);

}  // namespace oncomesh::terminology
