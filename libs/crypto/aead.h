// SPDX-License-Identifier: Apache-2.0
// Authenticated encryption: AES-256-GCM (NIST SP 800-38D) on OpenSSL.
#pragma once

#include <cstddef>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace oncomesh::crypto {

inline constexpr size_t kAesKeySize = 32;
inline constexpr size_t kGcmNonceSize = 12;
inline constexpr size_t kGcmTagSize = 16;

// Ciphertext and tag. A nonce must never be used twice with one key. `key` has kAesKeySize bytes,
// `nonce` kGcmNonceSize; `associated` is authenticated and not encrypted. Any thread.
std::string AesGcmSeal(absl::string_view key, absl::string_view nonce, absl::string_view associated,
                       absl::string_view plaintext);

// The plaintext. Errors: DATA_LOSS (SEAL_BROKEN) when anything differs from what was sealed.
absl::StatusOr<std::string> AesGcmOpen(absl::string_view key, absl::string_view nonce,
                                       absl::string_view associated, absl::string_view sealed);

}  // namespace oncomesh::crypto
