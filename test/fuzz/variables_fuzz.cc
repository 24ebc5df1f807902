// link: oncomesh::terminology
// SPDX-License-Identifier: Apache-2.0
// Variable files of a site. Whatever a file defines can be used: its codes are in their own one
// spelling, its bands have labels, and asking what is below what ends.
#include <cstdint>
#include <cstdlib>

#include "libs/terminology/registry.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using oncomesh::terminology::Registry;
  auto registry = Registry::Parse({std::string(reinterpret_cast<const char*>(data), size)});
  if (!registry.ok()) return 0;
  for (const auto& variable : registry->variables()) {
    if (registry->Find(variable->name) != variable.get()) std::abort();
    for (size_t band = 0; band < variable->bands.size(); ++band) {
      if (variable->BandOf(variable->bands[band]) != static_cast<int>(band)) std::abort();
      if (variable->BandLabel(static_cast<int>(band)).empty()) std::abort();
    }
    for (const auto& value : variable->values) {
      if (!variable->NormaliseCode(value.code).ok()) std::abort();
      if (!variable->IsOrIsBelow(value.code, value.code)) std::abort();
      (void)variable->IsOrIsBelow(value.code, "C50");
    }
    for (const char* text : {"", "C50.4", "M", "12", "-3.5e2", "8500/3"}) {
      auto code = variable->NormaliseCode(text);
      if (code.ok() && !variable->numeric() && code->empty()) std::abort();
      (void)variable->ParseNumber(text);
    }
  }
  return 0;
}
