// link: oncomesh::crypto
// SPDX-License-Identifier: Apache-2.0
// Certificates, requests and keys from outside: never a prompt, never an error left in the queue.
#include <openssl/err.h>

#include <cstdint>
#include <cstdlib>

#include "libs/crypto/x509.h"

using namespace oncomesh::crypto;  // NOLINT

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const PrivateKey key = PrivateKey::Generate(KeyType::kP256);
  static const absl::Time now = absl::FromUnixSeconds(1'800'000'000);
  static const std::string authority =
      CreateAuthority(key, "mesh", now - absl::Hours(1), now + absl::Hours(1));
  const absl::string_view input(reinterpret_cast<const char*>(data), size);
  (void)ParseCertificate(input);
  (void)PublicKey::FromPem(input);
  (void)PrivateKey::FromPem(input);
  if (VerifyChain(input, authority, now).ok() && input.find("BEGIN") == input.npos) std::abort();
  (void)IssueCertificate(
      authority, key, input,
      {.uri = "spiffe://mesh/hub/x", .dns = {}, .ips = {}, .not_before = now, .not_after = now});
  if (ERR_peek_error() != 0) std::abort();
  return 0;
}
