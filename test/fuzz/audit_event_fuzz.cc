// link: oncomesh::ledger
// SPDX-License-Identifier: Apache-2.0
// Leaves of the audit log: one event has one spelling.
#include <cstdint>
#include <cstdlib>

#include "libs/ledger/event.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const absl::string_view input(reinterpret_cast<const char*>(data), size);
  auto event = oncomesh::ledger::ParseEvent(input);
  if (!event.ok()) return 0;
  auto leaf = oncomesh::ledger::CanonicalEvent(*event);
  if (!leaf.ok() || *leaf != input) std::abort();
  return 0;
}
