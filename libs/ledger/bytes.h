// SPDX-License-Identifier: Apache-2.0
// Little-endian numbers in the log's files.
#pragma once

#include <cstdint>
#include <string>

#include "absl/strings/string_view.h"

namespace oncomesh::ledger {

inline void AppendU32(uint32_t value, std::string& out) {
  for (int shift = 0; shift < 32; shift += 8) out.push_back(static_cast<char>(value >> shift));
}
inline void AppendU64(uint64_t value, std::string& out) {
  for (int shift = 0; shift < 64; shift += 8) out.push_back(static_cast<char>(value >> shift));
}
// `bytes` must be long enough.
inline uint32_t ReadU32(absl::string_view bytes) {
  uint32_t out = 0;
  for (int i = 3; i >= 0; --i) out = out << 8 | static_cast<unsigned char>(bytes[i]);
  return out;
}
inline uint64_t ReadU64(absl::string_view bytes) {
  return ReadU32(bytes) | uint64_t{ReadU32(bytes.substr(4))} << 32;
}

}  // namespace oncomesh::ledger
