// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "absl/strings/string_view.h"

namespace oncomesh::base {

// Whether `text` (UTF-8) holds a character that steers a terminal or begins a line: C0 with tab and
// line feed, DEL, C1, U+2028 and U+2029.
bool HasControlCharacters(absl::string_view text);

}  // namespace oncomesh::base
