// SPDX-License-Identifier: Apache-2.0
// Base64 as signatures need it: one spelling per value, everything else refused.
#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace oncomesh::crypto {

// RFC 4648 §4, with padding.
std::string Base64(absl::string_view bytes);
// RFC 4648 §5, without padding (RFC 7515 §2).
std::string Base64Url(absl::string_view bytes);

// Errors: INVALID_ARGUMENT (BASE64_INVALID) for other characters, wrong padding, or bits that are
// not zero after the last byte.
absl::StatusOr<std::string> Base64Decode(absl::string_view text);
absl::StatusOr<std::string> Base64UrlDecode(absl::string_view text);

}  // namespace oncomesh::crypto
