// SPDX-License-Identifier: Apache-2.0
#include "libs/crypto/encoding.h"

#include "absl/strings/escaping.h"
#include "libs/base/error.h"

namespace oncomesh::crypto {
namespace {

absl::Status Invalid() {
  return base::Error(absl::StatusCode::kInvalidArgument, "BASE64_INVALID",
                     "the text is not canonical base64");
}

}  // namespace

std::string Base64(absl::string_view bytes) { return absl::Base64Escape(bytes); }

std::string Base64Url(absl::string_view bytes) {
  std::string out = absl::WebSafeBase64Escape(bytes);
  while (!out.empty() && out.back() == '=') out.pop_back();
  return out;
}

// Abseil's decoder takes white space, missing padding and stray bits; encoding the result again
// shows whether the text was the one canonical spelling.
absl::StatusOr<std::string> Base64Decode(absl::string_view text) {
  std::string out;
  if (!absl::Base64Unescape(text, &out) || Base64(out) != text) return Invalid();
  return out;
}

absl::StatusOr<std::string> Base64UrlDecode(absl::string_view text) {
  std::string out;
  if (!absl::WebSafeBase64Unescape(text, &out) || Base64Url(out) != text) return Invalid();
  return out;
}

}  // namespace oncomesh::crypto
