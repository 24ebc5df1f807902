// link: oncomesh::catalogue_service
// SPDX-License-Identifier: Apache-2.0
// Released clinical tables as the catalogue reads them. Every value it takes is in the one spelling
// of its variable.
#include <cstdint>
#include <cstdlib>

#include "services/catalogue/clinical_table.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using oncomesh::catalogue::ReadClinicalTable;
  using oncomesh::terminology::Registry;
  const Registry& registry = Registry::Builtin();
  auto table =
      ReadClinicalTable(absl::string_view(reinterpret_cast<const char*>(data), size), registry);
  if (!table.ok()) return 0;
  for (const auto& row : table->rows) {
    if (row.patient_code.empty() || row.patient_code.size() > 64) std::abort();
    for (const auto& [name, value] : row.values) {
      const auto* variable = registry.Find(name);
      if (variable == nullptr || value.empty()) std::abort();
      if (variable->numeric() ? !variable->ParseNumber(value).ok()
                              : variable->NormaliseCode(value).value_or("") != value) {
        std::abort();
      }
    }
  }
  return 0;
}
