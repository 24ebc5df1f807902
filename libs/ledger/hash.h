// SPDX-License-Identifier: Apache-2.0
// Hashes of a Merkle tree over a log (RFC 6962 §2.1). Leaves and inner nodes are hashed with
// different first bytes, so that no leaf can be passed off as a node.
#pragma once

#include <array>
#include <cstdint>
#include <string>

#include "absl/strings/string_view.h"

namespace oncomesh::ledger {

using Hash = std::array<unsigned char, 32>;

// SHA-256(0x00 ‖ leaf).
Hash LeafHash(absl::string_view leaf);
// SHA-256(0x01 ‖ left ‖ right).
Hash NodeHash(const Hash& left, const Hash& right);
// SHA-256 of nothing: the root of an empty log.
Hash EmptyRoot();

inline absl::string_view View(const Hash& hash) {
  return absl::string_view(reinterpret_cast<const char*>(hash.data()), hash.size());
}

// False when `bytes` does not have 32 bytes; `out` is then unchanged.
bool ToHash(absl::string_view bytes, Hash& out);

// 64 lower-case hexadecimal digits.
std::string Hex(const Hash& hash);

}  // namespace oncomesh::ledger
