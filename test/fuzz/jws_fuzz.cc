// link: oncomesh::crypto
// SPDX-License-Identifier: Apache-2.0
// Tokens, key sets and strict JSON. No token is genuine here, since nobody has signed one.
#include <cstdint>
#include <cstdlib>

#include "libs/crypto/encoding.h"
#include "libs/crypto/jws.h"

using namespace oncomesh::crypto;  // NOLINT

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const KeySet keys = {{"", PrivateKey::Generate(KeyType::kP256).Public()},
                              {"k", PrivateKey::Generate(KeyType::kEd25519).Public()}};
  const absl::string_view input(reinterpret_cast<const char*>(data), size);
  if (VerifyJws(input, keys).ok()) std::abort();
  (void)PeekJws(input);
  // What is read of a key set is printed and read again as the same keys.
  absl::StatusOr<KeySet> set = ParseJwks(input);
  if (set.ok()) {
    absl::StatusOr<KeySet> again = ParseJwks(PrintJwks(*set));
    if (!again.ok() || again->size() != set->size()) std::abort();
  }
  for (const auto& decoded : {Base64UrlDecode(input), Base64Decode(input)}) {
    if (decoded.ok() && decoded->size() > input.size()) std::abort();
  }
  (void)ParseStrictJson(input);
  return 0;
}
