// SPDX-License-Identifier: Apache-2.0
#include "libs/ledger/hash.h"

#include <algorithm>

#include "absl/strings/escaping.h"
#include "libs/crypto/digest.h"

namespace oncomesh::ledger {
namespace {

// Making an OpenSSL context costs more than hashing a leaf: each thread keeps one.
crypto::Sha256& Digest() {
  thread_local crypto::Sha256 digest;
  return digest;
}

}  // namespace

Hash LeafHash(absl::string_view leaf) {
  Hash out;
  crypto::Sha256& digest = Digest();
  digest.Update(absl::string_view("\x00", 1));
  digest.Update(leaf);
  digest.FinishTo(out.data());
  return out;
}

Hash NodeHash(const Hash& left, const Hash& right) {
  std::array<char, 65> block;
  block[0] = 1;
  std::copy(left.begin(), left.end(), block.begin() + 1);
  std::copy(right.begin(), right.end(), block.begin() + 33);
  Hash out;
  crypto::Sha256& digest = Digest();
  digest.Update(absl::string_view(block.data(), block.size()));
  digest.FinishTo(out.data());
  return out;
}

Hash EmptyRoot() {
  Hash out;
  Digest().FinishTo(out.data());
  return out;
}

bool ToHash(absl::string_view bytes, Hash& out) {
  if (bytes.size() != out.size()) return false;
  std::copy(bytes.begin(), bytes.end(), out.begin());
  return true;
}

std::string Hex(const Hash& hash) { return absl::BytesToHexString(View(hash)); }

}  // namespace oncomesh::ledger
