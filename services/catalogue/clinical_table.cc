// SPDX-License-Identifier: Apache-2.0
#include "services/catalogue/clinical_table.h"

#include <algorithm>
#include <map>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/strip.h"
#include "libs/base/error.h"
#include "libs/base/status_macros.h"

namespace oncomesh::catalogue {
namespace {

constexpr size_t kMaxColumns = 1024;
constexpr size_t kMaxPatientCode = 64;

absl::Status Unreadable(absl::string_view what) {
  return base::Error(absl::StatusCode::kInvalidArgument, "TABLE_UNREADABLE", what);
}

// Takes one record off the front of `csv`. False at the end.
absl::StatusOr<bool> NextRecord(absl::string_view& csv, std::vector<std::string>& fields) {
  fields.clear();
  if (csv.empty()) return false;
  fields.emplace_back();
  size_t i = 0;
  while (i < csv.size()) {
    char c = csv[i];
    if (c == '"' && fields.back().empty()) {
      // Up to the closing quote; two quotes stand for one.
      for (++i;; ++i) {
        if (i >= csv.size()) return Unreadable("a quote in the clinical table is never closed");
        if (csv[i] != '"') {
          fields.back().push_back(csv[i]);
        } else if (i + 1 < csv.size() && csv[i + 1] == '"') {
          fields.back().push_back('"');
          ++i;
        } else {
          break;
        }
      }
      ++i;
      continue;
    }
    ++i;
    if (c == ',') {
      if (fields.size() == kMaxColumns) {
        return Unreadable("the clinical table has more than 1,024 columns");
      }
      fields.emplace_back();
    } else if (c == '\n') {
      break;
    } else if (c != '\r' || i >= csv.size() || csv[i] != '\n') {
      fields.back().push_back(c);
    }
  }
  csv.remove_prefix(i);
  return true;
}

// The value of a text for a variable in its one spelling; empty when it is none.
std::string ValueOf(const terminology::Variable& variable, absl::string_view text) {
  if (variable.numeric()) {
    absl::StatusOr<double> number = variable.ParseNumber(text);
    return number.ok() ? terminology::FormatNumber(*number) : "";
  }
  return variable.NormaliseCode(text).value_or("");
}

bool IsPatientCode(absl::string_view text) {
  return !text.empty() && text.size() <= kMaxPatientCode &&
         std::all_of(text.begin(), text.end(),
                     [](unsigned char c) { return absl::ascii_isgraph(c) != 0; });
}

}  // namespace

absl::StatusOr<ClinicalTable> ReadClinicalTable(absl::string_view csv,
                                                const terminology::Registry& registry) {
  absl::ConsumePrefix(&csv, "\xef\xbb\xbf");
  std::vector<std::string> fields;
  ASSIGN_OR_RETURN(bool heading, NextRecord(csv, fields));
  if (!heading) return Unreadable("the clinical table is empty");
  size_t columns = fields.size();
  std::map<std::string, size_t> by_name;
  for (size_t i = 0; i < columns; ++i) {
    by_name.emplace(absl::AsciiStrToLower(absl::StripAsciiWhitespace(fields[i])), i);
  }
  auto patient = by_name.find("patient_id");
  if (patient == by_name.end()) {
    return Unreadable("the clinical table has no column patient_id");
  }
  std::vector<std::pair<const terminology::Variable*, size_t>> taken;
  for (const auto& variable : registry.variables()) {
    for (const std::string& name : variable->source.clinical) {
      auto column = by_name.find(name);
      if (column == by_name.end()) continue;
      taken.emplace_back(variable.get(), column->second);
      break;
    }
  }
  ClinicalTable out;
  while (true) {
    ASSIGN_OR_RETURN(bool more, NextRecord(csv, fields));
    if (!more) return out;
    if (fields.size() == 1 && fields[0].empty()) continue;  // an empty line
    if (fields.size() != columns || !IsPatientCode(fields[patient->second])) {
      ++out.passed_over;
      continue;
    }
    ClinicalRow& row = out.rows.emplace_back();
    row.patient_code = std::move(fields[patient->second]);
    for (const auto& [variable, column] : taken) {
      std::string value = ValueOf(*variable, fields[column]);
      if (!value.empty()) row.values[variable->name] = std::move(value);
    }
  }
}

}  // namespace oncomesh::catalogue
