// SPDX-License-Identifier: Apache-2.0
#include "services/access/https_get.h"

#include <curl/curl.h>

#include <memory>
#include <mutex>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "libs/base/error.h"
#include "libs/base/status_macros.h"

namespace oncomesh::access {
namespace {

struct UrlParts {
  std::string scheme;
  std::string host;
  bool has_user = false;
};

// By libcurl's own parser, so that the check and the request see the same host.
absl::StatusOr<UrlParts> ParseUrl(absl::string_view url) {
  std::unique_ptr<CURLU, decltype(&curl_url_cleanup)> handle(curl_url(), &curl_url_cleanup);
  auto part = [&](CURLUPart what) {
    char* text = nullptr;
    if (curl_url_get(handle.get(), what, &text, 0) != CURLUE_OK || text == nullptr) {
      return std::string();
    }
    std::string out = text;
    curl_free(text);
    return out;
  };
  if (handle == nullptr || url.size() > 2048 ||
      curl_url_set(handle.get(), CURLUPART_URL, std::string(url).c_str(),
                   CURLU_NON_SUPPORT_SCHEME) != CURLUE_OK) {
    return base::Error(absl::StatusCode::kInvalidArgument, "URL_INVALID",
                       "the address is not a URL of at most 2,048 characters");
  }
  UrlParts out;
  out.scheme = part(CURLUPART_SCHEME);
  out.host = part(CURLUPART_HOST);
  out.has_user = !part(CURLUPART_USER).empty() || !part(CURLUPART_PASSWORD).empty();
  return out;
}

bool IsLoopback(absl::string_view host) {
  if (host == "localhost" || host == "[::1]") return true;
  // Digits and dots only: "127.evil.example" is a name.
  return absl::StartsWith(host, "127.") &&
         host.find_first_not_of("0123456789.") == absl::string_view::npos;
}

struct Sink {
  std::string body;
  size_t limit;
  bool too_large = false;
};

size_t Receive(char* data, size_t one, size_t size, void* user) {
  auto* sink = static_cast<Sink*>(user);
  if (sink->body.size() + one * size > sink->limit) {
    sink->too_large = true;
    return 0;
  }
  sink->body.append(data, one * size);
  return one * size;
}

}  // namespace

absl::Status CheckHttpsUrl(absl::string_view url, bool allow_loopback_http) {
  ASSIGN_OR_RETURN(UrlParts parts, ParseUrl(url));
  if (parts.has_user) {
    return base::Error(absl::StatusCode::kInvalidArgument, "URL_INVALID",
                       "the address must not hold a user or a password");
  }
  if (parts.scheme == "https" && !parts.host.empty()) return absl::OkStatus();
  if (parts.scheme == "http" && allow_loopback_http && IsLoopback(parts.host)) {
    return absl::OkStatus();
  }
  return base::Error(absl::StatusCode::kInvalidArgument, "URL_INVALID",
                     "the address must begin with https:// (http:// is for loopback addresses, "
                     "and not with production: true)");
}

absl::StatusOr<std::string> HttpsGet(const std::string& url, const HttpsGetOptions& options) {
  static std::once_flag once;
  std::call_once(once, [] { curl_global_init(CURL_GLOBAL_DEFAULT); });
  RETURN_IF_ERROR(CheckHttpsUrl(url, options.allow_loopback_http));
  ASSIGN_OR_RETURN(UrlParts parts, ParseUrl(url));
  std::unique_ptr<CURL, decltype(&curl_easy_cleanup)> curl(curl_easy_init(), &curl_easy_cleanup);
  if (curl == nullptr) {
    return base::Error(absl::StatusCode::kUnavailable, "HTTPS_FAILED", "libcurl does not start");
  }
  Sink sink{.body = {}, .limit = options.max_bytes};
  char message[CURL_ERROR_SIZE] = "";
  auto set = [&](CURLoption option, auto value) {
    return curl_easy_setopt(curl.get(), option, value) == CURLE_OK;
  };
  bool good =
      set(CURLOPT_URL, url.c_str()) && set(CURLOPT_PROTOCOLS_STR, parts.scheme.c_str()) &&
      set(CURLOPT_FOLLOWLOCATION, 0L) && set(CURLOPT_NOSIGNAL, 1L) &&
      set(CURLOPT_TIMEOUT_MS, static_cast<long>(absl::ToInt64Milliseconds(options.timeout))) &&
      set(CURLOPT_SSL_VERIFYPEER, 1L) && set(CURLOPT_SSL_VERIFYHOST, 2L) &&
      set(CURLOPT_SSLVERSION, static_cast<long>(CURL_SSLVERSION_TLSv1_2)) &&
      set(CURLOPT_WRITEFUNCTION, &Receive) && set(CURLOPT_WRITEDATA, &sink) &&
      set(CURLOPT_ERRORBUFFER, message) && set(CURLOPT_USERAGENT, "oncomesh");
  if (good && IsLoopback(parts.host)) good = set(CURLOPT_PROXY, "");
  if (good && !options.ca_file.empty()) {
    good = set(CURLOPT_CAINFO, options.ca_file.c_str()) &&
           set(CURLOPT_CAPATH, static_cast<char*>(nullptr));
  }
  if (!good) {
    return base::Error(absl::StatusCode::kUnavailable, "HTTPS_FAILED",
                       "libcurl refuses an option; is it older than 7.85?");
  }
  const CURLcode code = curl_easy_perform(curl.get());
  if (sink.too_large) {
    return base::Error(absl::StatusCode::kResourceExhausted, "HTTPS_TOO_LARGE",
                       absl::StrCat("the answer has more than ", options.max_bytes, " bytes"));
  }
  if (code == CURLE_OPERATION_TIMEDOUT) {
    return base::Error(
        absl::StatusCode::kDeadlineExceeded, "HTTPS_TIMEOUT",
        absl::StrCat("no whole answer within ", absl::FormatDuration(options.timeout)));
  }
  if (code != CURLE_OK) {
    return base::Error(absl::StatusCode::kUnavailable, "HTTPS_FAILED",
                       message[0] != '\0' ? message : curl_easy_strerror(code));
  }
  long status = 0;
  curl_easy_getinfo(curl.get(), CURLINFO_RESPONSE_CODE, &status);
  if (status != 200) {
    return base::Error(absl::StatusCode::kUnavailable, "HTTPS_FAILED",
                       absl::StrCat("the server answered with status ", status));
  }
  return std::move(sink.body);
}

}  // namespace oncomesh::access
