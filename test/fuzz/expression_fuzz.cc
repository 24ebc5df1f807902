// link: oncomesh::query
// SPDX-License-Identifier: Apache-2.0
// Expressions in text and JSON. What parses prints to a text that parses to the same, and its
// canonical form is its own.
#include <google/protobuf/util/message_differencer.h>

#include <cstdint>
#include <cstdlib>

#include "libs/query/binding.h"
#include "libs/query/text.h"
#include "libs/terminology/registry.h"

using oncomesh::query::Canonical;
using oncomesh::query::CheckShape;
using oncomesh::query::ParseJson;
using oncomesh::query::ParseText;
using oncomesh::query::PrintText;
using oncomesh::terminology::Registry;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  absl::string_view input(reinterpret_cast<const char*>(data), size);
  auto parsed = !input.empty() && input[0] == '{' ? ParseJson(input) : ParseText(input);
  if (!parsed.ok()) return 0;
  std::string text = PrintText(*parsed);
  if (text.size() <= oncomesh::query::kMaxTextBytes) {
    auto again = ParseText(text);
    if (!again.ok() || PrintText(*again) != text) std::abort();
  }
  auto canonical = Canonical(*parsed, Registry::Builtin());
  if (PrintText(Canonical(canonical, Registry::Builtin())) != PrintText(canonical)) std::abort();
  return 0;
}
