// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "libs/terminology/registry.h"
#include "services/catalogue/node_store.h"

namespace oncomesh::catalogue {

struct ClinicalRow {
  std::string patient_code;
  Values values;  // of the registry's variables, in their one spelling
};

struct ClinicalTable {
  std::vector<ClinicalRow> rows;
  int64_t passed_over = 0;  // rows without a patient code or with another number of fields
};

// Reads a released clinical table: CSV (RFC 4180), comma, a heading, the patient code in the column
// patient_id. Columns are found by name, without case; what no variable takes is left.
// Errors: INVALID_ARGUMENT (TABLE_UNREADABLE) without a heading or that column, for a quote that is
// never closed, and past 1,024 columns.
absl::StatusOr<ClinicalTable> ReadClinicalTable(absl::string_view csv,
                                                const terminology::Registry& registry);

}  // namespace oncomesh::catalogue
