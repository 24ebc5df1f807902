// SPDX-License-Identifier: Apache-2.0
// Key derivation: HKDF with SHA-256 (RFC 5869) on OpenSSL.
#pragma once

#include <cstddef>

#include "absl/strings/string_view.h"
#include "libs/crypto/secret.h"

namespace oncomesh::crypto {

// `size` bytes (1 to 8160) from the key material `secret`, which must not be empty. `info` names
// the use, so that keys for two uses are independent; `salt` may be empty. Any thread.
Secret Hkdf(absl::string_view secret, absl::string_view salt, absl::string_view info, size_t size);

}  // namespace oncomesh::crypto
