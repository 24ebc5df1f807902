// SPDX-License-Identifier: Apache-2.0
#include "libs/base/text.h"

#include <cstddef>

namespace oncomesh::base {

bool HasControlCharacters(absl::string_view text) {
  auto byte = [&](size_t i) { return i < text.size() ? static_cast<unsigned char>(text[i]) : 0; };
  for (size_t i = 0; i < text.size(); ++i) {
    if (byte(i) < 0x20 || byte(i) == 0x7f) return true;
    // In UTF-8 U+0080 to U+009F is C2 and 80 to 9F; U+2028 and U+2029 are E2 80 A8 and E2 80 A9.
    if (byte(i) == 0xc2 && byte(i + 1) >= 0x80 && byte(i + 1) <= 0x9f) return true;
    if (byte(i) == 0xe2 && byte(i + 1) == 0x80 && (byte(i + 2) == 0xa8 || byte(i + 2) == 0xa9)) {
      return true;
    }
  }
  return false;
}

}  // namespace oncomesh::base
