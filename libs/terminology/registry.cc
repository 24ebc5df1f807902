// SPDX-License-Identifier: Apache-2.0
#include "libs/terminology/registry.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <nlohmann/json.hpp>
#include <set>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "libs/base/error.h"
#include "libs/base/files.h"
#include "libs/base/log.h"
#include "libs/base/status_macros.h"

namespace oncomesh::terminology {

extern const char kEmbeddedVariables[];

namespace {

using nlohmann::json;

constexpr size_t kMaxCodeBytes = 64;

// True when `text` has the form of `shape` from its start to its end.
bool HasShape(absl::string_view text, absl::string_view shape) {
  while (!shape.empty()) {
    char want = shape[0];
    shape.remove_prefix(1);
    if (want == '[') {
      // The tail is there as a whole or not at all; brackets only nest at the end.
      if (text.empty()) return true;
      shape.remove_suffix(1);
      continue;
    }
    if (text.empty()) return false;
    char have = text[0];
    text.remove_prefix(1);
    bool good = want == 'A'   ? absl::ascii_isalpha(have)
                : want == '9' ? absl::ascii_isdigit(have)
                : want == 'X' ? absl::ascii_isalnum(have)
                              : have == want;
    if (!good) return false;
  }
  return text.empty();
}

// True for what HasShape reads: brackets are balanced and close at the end only.
bool IsShape(absl::string_view shape) {
  const size_t closing = std::min(shape.find(']'), shape.size());
  const absl::string_view tail = shape.substr(closing);
  return tail == std::string(tail.size(), ']') &&
         std::count(shape.begin(), shape.end(), '[') == static_cast<std::ptrdiff_t>(tail.size());
}

// Upper case, no surrounding space, inner space single. Empty when it holds what no code holds.
std::string Fold(absl::string_view text) {
  std::string out(text);
  absl::RemoveExtraAsciiWhitespace(&out);
  absl::AsciiStrToUpper(&out);
  if (out.size() > kMaxCodeBytes) return "";
  for (unsigned char c : out) {
    if (c < 0x20 || c == 0x7f) return "";
  }
  return out;
}

absl::Status ValueError(const Variable& variable, absl::string_view what) {
  return base::Error(absl::StatusCode::kInvalidArgument, "VALUE_INVALID",
                     absl::StrCat("a value of ", variable.name, " ", what),
                     {{"variable", variable.name}});
}

}  // namespace

absl::string_view LevelName(Level level) {
  switch (level) {
    case Level::kPatient:
      return "patient";
    case Level::kStudy:
      return "study";
    case Level::kSeries:
      return "series";
  }
  return "";
}

absl::string_view TypeName(Type type) {
  switch (type) {
    case Type::kCode:
      return "code";
    case Type::kInteger:
      return "integer";
    case Type::kDecimal:
      return "decimal";
    case Type::kYear:
      return "year";
  }
  return "";
}

std::string FormatNumber(double number) {
  if (number == 0) return "0";
  if (std::abs(number) < 1e15 && number == std::floor(number)) {
    return absl::StrFormat("%.0f", number);
  }
  // The fewest digits that read back as the same number.
  for (int digits = 1; digits < 17; ++digits) {
    std::string text = absl::StrFormat("%.*g", digits, number);
    if (absl::StrContains(text, 'e')) continue;
    if (std::strtod(text.c_str(), nullptr) == number) return text;
  }
  return absl::StrFormat("%.17g", number);
}

absl::StatusOr<std::string> Variable::NormaliseCode(absl::string_view text) const {
  std::string folded = Fold(text);
  for (const Value& value : values) {
    if (absl::EqualsIgnoreCase(folded, value.code)) return value.code;
    for (const std::string& other : value.also) {
      if (absl::EqualsIgnoreCase(folded, other)) return value.code;
    }
  }
  if (closed) {
    std::string codes = absl::StrJoin(
        values, ", ", [](std::string* out, const Value& value) { out->append(value.code); });
    return ValueError(*this, absl::StrCat("is one of ", codes));
  }
  if (folded.empty()) return ValueError(*this, "has 1 to 64 printable characters");
  if (!code_system.shape.empty() && !HasShape(folded, code_system.shape)) {
    return ValueError(
        *this, absl::StrCat("is a code of ", code_system.title, ", written ", code_system.shape,
                            " (A a letter, 9 a digit, X either, [] optional)"));
  }
  return folded;
}

absl::StatusOr<double> Variable::ParseNumber(absl::string_view text) const {
  double number = 0;
  text = absl::StripAsciiWhitespace(text);
  // No hexadecimal, "inf" or "nan": digits, a sign, a point, an exponent.
  bool plain =
      !text.empty() && text.size() <= 32 && std::all_of(text.begin(), text.end(), [](char c) {
        return absl::ascii_isdigit(c) || c == '.' || c == '-' || c == '+' || c == 'e' || c == 'E';
      });
  if (!plain || !absl::SimpleAtod(text, &number) || !std::isfinite(number)) {
    return ValueError(*this, "is a number in decimal notation");
  }
  if (type != Type::kDecimal && number != std::floor(number)) {
    return ValueError(*this, "is a whole number");
  }
  if (number < minimum || number > maximum) {
    return ValueError(*this, absl::StrCat("lies between ", FormatNumber(minimum), " and ",
                                          FormatNumber(maximum), unit.empty() ? "" : " ", unit));
  }
  return number == 0 ? 0.0 : number;  // -0 is 0
}

bool Variable::IsOrIsBelow(absl::string_view code, absl::string_view ancestor) const {
  if (code == ancestor) return true;
  if (code.size() > ancestor.size() && absl::StartsWith(code, ancestor) &&
      absl::StrContains(code_system.separators, code[ancestor.size()])) {
    return true;
  }
  // Parents are checked to form a tree when the registry is read, so this ends.
  for (const Value& value : values) {
    if (value.code == code) return !value.parent.empty() && IsOrIsBelow(value.parent, ancestor);
  }
  return false;
}

int Variable::BandOf(double number) const {
  auto above = std::upper_bound(bands.begin(), bands.end(), number);
  return static_cast<int>(above - bands.begin()) - 1;
}

std::string Variable::BandLabel(int band) const {
  size_t i = static_cast<size_t>(band);
  if (i + 1 == bands.size()) return absl::StrCat(FormatNumber(bands[i]), "+");
  double upper = type == Type::kDecimal ? bands[i + 1] : bands[i + 1] - 1;
  if (upper == bands[i]) return FormatNumber(upper);
  return absl::StrCat(FormatNumber(bands[i]), "-", FormatNumber(upper));
}

// Reads the JSON form. Every complaint names the entry, so that a site can mend its file.
class RegistryReader {
 public:
  absl::Status Read(const std::string& text) {
    json document = json::parse(text, nullptr, /*allow_exceptions=*/false);
    if (!document.is_object() || document.value("format", json()) != "oncomesh-variables/1") {
      return Invalid("the file", "must be a JSON object with \"format\": \"oncomesh-variables/1\"");
    }
    if (registry_.version_.empty()) RETURN_IF_ERROR(Text(document, "version", registry_.version_));
    for (const json& item : List(document, "codeSystems")) {
      CodeSystem system;
      RETURN_IF_ERROR(Text(item, "name", system.name, /*needed=*/true));
      RETURN_IF_ERROR(Text(item, "title", system.title));
      RETURN_IF_ERROR(Text(item, "separators", system.separators));
      RETURN_IF_ERROR(Text(item, "shape", system.shape));
      if (!IsShape(system.shape)) {
        return Invalid(absl::StrCat("code system '", system.name, "'"),
                       "has a shape whose brackets do not pair, or close before its end");
      }
      systems_[system.name] = system;
    }
    for (const json& item : List(document, "variables")) RETURN_IF_ERROR(ReadVariable(item));
    return absl::OkStatus();
  }

  Registry Take() { return std::move(registry_); }

 private:
  static absl::Status Invalid(absl::string_view entry, absl::string_view what) {
    return base::Error(absl::StatusCode::kInvalidArgument, "REGISTRY_INVALID",
                       absl::StrCat("variables file: ", entry, " ", what));
  }

  static json List(const json& object, const char* key) {
    if (!object.is_object() || !object.contains(key) || !object[key].is_array()) {
      return json::array();
    }
    return object[key];
  }

  absl::Status Text(const json& object, const char* key, std::string& out, bool needed = false) {
    if (!object.is_object() || !object.contains(key)) {
      return needed ? Invalid(entry_, absl::StrCat("needs the text '", key, "'"))
                    : absl::OkStatus();
    }
    if (!object[key].is_string())
      return Invalid(entry_, absl::StrCat("has no text in '", key, "'"));
    out = object[key].get<std::string>();
    return absl::OkStatus();
  }

  absl::Status ReadVariable(const json& item) {
    auto variable = std::make_unique<Variable>();
    entry_ = "a variable";
    RETURN_IF_ERROR(Text(item, "name", variable->name, true));
    entry_ = absl::StrCat("variable '", variable->name, "'");
    const std::string& name = variable->name;
    bool good_name = !name.empty() && name.size() <= 63 && absl::ascii_islower(name[0]) &&
                     std::all_of(name.begin(), name.end(), [](char c) {
                       return absl::ascii_islower(c) || absl::ascii_isdigit(c) || c == '_';
                     });
    static const std::set<std::string>& reserved =
        *new std::set<std::string>{"and", "or", "not", "in", "has", "all"};
    if (!good_name || reserved.count(name) > 0) {
      return Invalid(entry_,
                     "needs a name of lower-case letters, digits and _, no word of the "
                     "query language");
    }
    if (registry_.by_name_.count(name) > 0) return Invalid(entry_, "stands twice");
    std::string level, type, system;
    RETURN_IF_ERROR(Text(item, "level", level, true));
    RETURN_IF_ERROR(Text(item, "type", type, true));
    RETURN_IF_ERROR(Text(item, "codeSystem", system));
    RETURN_IF_ERROR(Text(item, "unit", variable->unit));
    RETURN_IF_ERROR(Text(item, "description", variable->description, true));
    if (level == "patient") {
      variable->level = Level::kPatient;
    } else if (level == "study") {
      variable->level = Level::kStudy;
    } else if (level == "series") {
      variable->level = Level::kSeries;
    } else {
      return Invalid(entry_, "needs the level patient, study or series");
    }
    if (type == "code") {
      variable->type = Type::kCode;
    } else if (type == "integer") {
      variable->type = Type::kInteger;
    } else if (type == "decimal") {
      variable->type = Type::kDecimal;
    } else if (type == "year") {
      variable->type = Type::kYear;
    } else {
      return Invalid(entry_, "needs the type code, integer, decimal or year");
    }
    RETURN_IF_ERROR(variable->numeric() ? ReadNumbers(item, *variable)
                                        : ReadCodes(item, system, *variable));
    RETURN_IF_ERROR(ReadSource(item, *variable));
    registry_.by_name_[name] = variable.get();
    registry_.variables_.push_back(std::move(variable));
    return absl::OkStatus();
  }

  absl::Status ReadCodes(const json& item, const std::string& system, Variable& variable) {
    auto found = systems_.find(system);
    if (found == systems_.end()) return Invalid(entry_, "names a code system that is not defined");
    variable.code_system = found->second;
    variable.closed = item.value("closed", json(false)) == true;
    for (const json& entry : List(item, "values")) {
      Value value;
      RETURN_IF_ERROR(Text(entry, "code", value.code, true));
      RETURN_IF_ERROR(Text(entry, "label", value.label));
      RETURN_IF_ERROR(Text(entry, "parent", value.parent));
      for (const json& other : List(entry, "also")) {
        if (!other.is_string()) return Invalid(entry_, "has another spelling that is no text");
        value.also.push_back(other.get<std::string>());
      }
      if (value.code.empty() || value.code != Fold(value.code)) {
        return Invalid(entry_, "has a code that is empty, too long or not in upper case");
      }
      // A parent stands before its children, so there is no cycle.
      bool known = value.parent.empty() ||
                   std::any_of(variable.values.begin(), variable.values.end(),
                               [&](const Value& v) { return v.code == value.parent; });
      if (!known) return Invalid(entry_, "has a code whose parent does not stand before it");
      variable.values.push_back(std::move(value));
    }
    if (variable.closed && variable.values.empty()) {
      return Invalid(entry_, "is closed and has no values");
    }
    return absl::OkStatus();
  }

  absl::Status ReadNumbers(const json& item, Variable& variable) {
    std::vector<double> range;
    for (const json& edge : List(item, "range")) {
      if (edge.is_number()) range.push_back(edge.get<double>());
    }
    if (range.size() != 2 || range[0] > range[1]) {
      return Invalid(entry_, "needs 'range': [least, greatest]");
    }
    variable.minimum = range[0];
    variable.maximum = range[1];
    for (const json& edge : List(item, "bands")) {
      if (!edge.is_number() ||
          (!variable.bands.empty() && edge.get<double>() <= variable.bands.back())) {
        return Invalid(entry_, "needs ascending numbers in 'bands'");
      }
      variable.bands.push_back(edge.get<double>());
    }
    return absl::OkStatus();
  }

  absl::Status ReadSource(const json& item, Variable& variable) {
    if (!item.contains("source")) return absl::OkStatus();
    const json& source = item["source"];
    RETURN_IF_ERROR(Text(source, "dicom", variable.source.dicom));
    RETURN_IF_ERROR(Text(source, "rule", variable.source.rule));
    RETURN_IF_ERROR(Text(source, "derived", variable.source.derived));
    for (const json& column : List(source, "clinical")) {
      if (!column.is_string()) return Invalid(entry_, "has a clinical column that is no text");
      variable.source.clinical.push_back(column.get<std::string>());
    }
    const std::string& tag = variable.source.dicom;
    if (!tag.empty() &&
        (tag.size() != 8 || !std::all_of(tag.begin(), tag.end(), absl::ascii_isxdigit))) {
      return Invalid(entry_, "needs eight hexadecimal digits in 'dicom'");
    }
    const std::string& rule = variable.source.rule;
    if (!rule.empty() && rule != "age" && rule != "unmodified_year") {
      return Invalid(entry_, "names a rule that does not exist");
    }
    if (!variable.source.clinical.empty() && variable.level != Level::kPatient) {
      return Invalid(entry_, "comes from the clinical table, so its level is patient");
    }
    return absl::OkStatus();
  }

  Registry registry_;
  std::map<std::string, CodeSystem> systems_;
  std::string entry_ = "a code system";
};

absl::StatusOr<Registry> Registry::Parse(const std::vector<std::string>& texts) {
  RegistryReader reader;
  for (const std::string& text : texts) RETURN_IF_ERROR(reader.Read(text));
  return reader.Take();
}

const Registry& Registry::Builtin() {
  static const Registry& registry = *[] {
    absl::StatusOr<Registry> parsed = Parse({kEmbeddedVariables});
    if (!parsed.ok()) {
      // The tests read this file too; a broken one cannot reach a release.
      base::LogError("registry.invalid", parsed.status());
      std::abort();
    }
    return new Registry(*std::move(parsed));
  }();
  return registry;
}

absl::StatusOr<Registry> Registry::WithFiles(const std::vector<std::string>& files) {
  std::vector<std::string> texts = {kEmbeddedVariables};
  for (const std::string& file : files) {
    ASSIGN_OR_RETURN(std::string text, base::ReadFile(file, 4 << 20));
    texts.push_back(std::move(text));
  }
  return Parse(texts);
}

const Variable* Registry::Find(absl::string_view name) const {
  auto found = by_name_.find(std::string(name));
  return found == by_name_.end() ? nullptr : found->second;
}

std::string Registry::Nearest(absl::string_view name) const {
  if (name.size() > kMaxNameBytes) return "";
  // Levenshtein distance; names are short.
  std::string best;
  size_t best_distance = name.size() / 3 + 2;
  for (const auto& variable : variables_) {
    const std::string& other = variable->name;
    std::vector<size_t> row(other.size() + 1);
    for (size_t j = 0; j <= other.size(); ++j) row[j] = j;
    for (size_t i = 1; i <= name.size(); ++i) {
      size_t diagonal = row[0];
      row[0] = i;
      for (size_t j = 1; j <= other.size(); ++j) {
        size_t next = std::min(
            {row[j] + 1, row[j - 1] + 1, diagonal + (name[i - 1] == other[j - 1] ? 0 : 1)});
        diagonal = row[j];
        row[j] = next;
      }
    }
    if (row[other.size()] < best_distance) {
      best_distance = row[other.size()];
      best = other;
    }
  }
  return best;
}

}  // namespace oncomesh::terminology
