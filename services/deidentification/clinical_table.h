// SPDX-License-Identifier: Apache-2.0
// Pseudonymises a clinical table (CSV, RFC 4180) with the keys that pseudonymise the images, so
// that a row finds its patient's images again and nobody else's: identifiers become patient codes,
// dates move by the patient's offset, ages are capped. Of other columns only those stay that a
// variable of the registry is read from, while every cell of them looks like its values, and those
// that the profile names in `tableColumns`.
#pragma once

#include <cstdint>
#include <set>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "services/deidentification/deidentifier.h"

namespace oncomesh::deidentification {

inline constexpr size_t kMaxTableBytes = 256 << 20;
inline constexpr size_t kMaxTableColumns = 1024;

struct QuarantinedRow {
  uint64_t line;       // where the row starts in the source, from 1
  std::string reason;  // ROW_COLUMNS, ROW_QUOTES, ROW_PATIENT_MISSING, ROW_DATE_INVALID,
                       // ROW_AGE_INVALID
};

struct TableOutcome {
  std::string csv;  // heading and released rows
  uint64_t rows = 0;
  uint64_t released = 0;
  std::vector<QuarantinedRow> quarantined;
  uint64_t columns_kept = 0;
  uint64_t columns_dropped = 0;
  std::set<std::string> patients;  // codes in the released rows
  DoneCounts done{};
};

// Errors (the whole table is refused): INVALID_ARGUMENT with TABLE_EMPTY, TABLE_TOO_LARGE,
// TABLE_HEADING_INVALID, TABLE_PATIENT_COLUMN_MISSING, TABLE_PATIENT_COLUMN_AMBIGUOUS (several
// columns may be the patient's, and none or more than one is called patient_id). No message holds a
// value or a column's name.
absl::StatusOr<TableOutcome> PseudonymiseTable(absl::string_view csv,
                                               const Deidentifier& deidentifier);

}  // namespace oncomesh::deidentification
