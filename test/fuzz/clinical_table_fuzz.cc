// link: oncomesh::deidentification_service
// SPDX-License-Identifier: Apache-2.0
#include <cstdint>
#include <cstdlib>
#include <string>

#include "services/deidentification/clinical_table.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace oncomesh::deidentification;  // NOLINT
  static const Deidentifier& deidentifier =
      *new Deidentifier(*LoadProfile("research"), std::string(kProjectKeyBytes, 'k'));
  absl::StatusOr<TableOutcome> table =
      PseudonymiseTable(absl::string_view(reinterpret_cast<const char*>(data), size), deidentifier);
  if (table.ok() && table->released + table->quarantined.size() != table->rows) std::abort();
  return 0;
}
