// link: oncomesh::permit
// SPDX-License-Identifier: Apache-2.0
// Claims of a permit, signed here so that they are looked at: what is accepted keeps its meaning
// when it is signed again.
#include <cstdint>
#include <cstdlib>

#include "libs/permit/permit.h"

using namespace oncomesh;  // NOLINT

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const auto key = crypto::PrivateKey::Generate(crypto::KeyType::kEd25519);
  static const permit::TrustState trust{.issuer = "mesh.example",
                                        .keys = {{"k", key.Public()}},
                                        .revoked = {},
                                        .epoch = 100,
                                        .fetched = absl::FromUnixSeconds(1'800'000'000),
                                        .max_age = absl::Hours(1)};
  const absl::string_view input(reinterpret_cast<const char*>(data), size);
  (void)permit::Verify(input, trust);
  auto read = permit::Verify(crypto::SignJws(key, "k", permit::kPermitType, input), trust);
  if (!read.ok()) return 0;
  auto compact = permit::Sign(*read, key, "k");
  if (!compact.ok()) std::abort();
  auto again = permit::Verify(*compact, trust);
  if (!again.ok() || again->people != read->people || again->expires != read->expires ||
      again->datasets != read->datasets || again->max_rounds != read->max_rounds) {
    std::abort();
  }
  return 0;
}
