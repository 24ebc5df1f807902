// SPDX-License-Identifier: Apache-2.0
// One document of another organisation over HTTPS, bounded in size and time.
#pragma once

#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"

namespace oncomesh::access {

struct HttpsGetOptions {
  std::string ca_file;                         // PEM; empty: the system's authorities
  size_t max_bytes = 256 << 10;                // of the body
  absl::Duration timeout = absl::Seconds(10);  // of everything, name lookup included
  bool allow_loopback_http = false;            // http://localhost, 127.0.0.0/8 and [::1] too
};

// OK when `url` may be asked: https, without user or password; or plain http of a loopback address
// when that is allowed. Errors: INVALID_ARGUMENT (URL_INVALID).
absl::Status CheckHttpsUrl(absl::string_view url, bool allow_loopback_http);

// The body of the answer 200. The certificate and its name are checked (TLS 1.2 at least); no
// redirect is followed. Proxies of the environment (https_proxy, no_proxy) are used, never for
// loopback. Blocks; any thread.
// Errors: INVALID_ARGUMENT (URL_INVALID); UNAVAILABLE (HTTPS_FAILED) for all that the network, TLS
// or the server says; RESOURCE_EXHAUSTED (HTTPS_TOO_LARGE); DEADLINE_EXCEEDED (HTTPS_TIMEOUT).
absl::StatusOr<std::string> HttpsGet(const std::string& url, const HttpsGetOptions& options);

}  // namespace oncomesh::access
