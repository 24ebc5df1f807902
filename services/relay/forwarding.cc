// SPDX-License-Identifier: Apache-2.0
#include "services/relay/forwarding.h"

#include <algorithm>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "libs/base/error.h"
#include "libs/base/status_macros.h"

namespace oncomesh::relay {
namespace {

bool IsName(absl::string_view name) {
  return !name.empty() && name.size() <= 63 &&
         std::all_of(name.begin(), name.end(), [](unsigned char c) {
           return absl::ascii_islower(c) || absl::ascii_isdigit(c) || c == '-';
         });
}

absl::Status Unknown(absl::string_view why) {
  return base::Error(absl::StatusCode::kUnauthenticated, "PEER_UNKNOWN", why);
}

}  // namespace

std::string Peer::path() const {
  switch (kind) {
    case Kind::kHubService:
      return absl::StrCat("hub/", service);
    case Kind::kNodeService:
      return absl::StrCat("node/", node, "/", service);
    case Kind::kAnyone:
      break;
  }
  return "";
}

absl::StatusOr<Peer> PeerOfPath(absl::string_view path) {
  std::vector<std::string> parts = absl::StrSplit(path, '/');
  if (parts.size() == 2 && parts[0] == "hub" && IsName(parts[1])) {
    return Peer{Peer::Kind::kHubService, "", parts[1]};
  }
  if (parts.size() == 3 && parts[0] == "node" && IsName(parts[1]) && IsName(parts[2])) {
    return Peer{Peer::Kind::kNodeService, parts[1], parts[2]};
  }
  return Unknown("the name in the client certificate is not one of a service of the mesh");
}

absl::StatusOr<Peer> PeerOf(const std::vector<std::string>& uris, absl::string_view trust_domain) {
  if (uris.empty()) return Peer{};
  // With two names the holder of a certificate could choose who to be.
  if (uris.size() != 1) return Unknown("the client certificate must have exactly one URI name");
  absl::string_view path = uris[0];
  if (!absl::ConsumePrefix(&path, absl::StrCat("spiffe://", trust_domain, "/"))) {
    return Unknown("the client certificate is of another trust domain");
  }
  return PeerOfPath(path);
}

absl::StatusOr<std::string> SingleValue(const CallHeader& header, absl::string_view key) {
  const std::string* found = nullptr;
  for (const auto& [name, value] : header.metadata) {
    if (name != key) continue;
    if (found != nullptr) {
      return base::Error(absl::StatusCode::kInvalidArgument, "METADATA_AMBIGUOUS",
                         absl::StrCat("the call carries two ", key, " values"));
    }
    found = &value;
  }
  return found == nullptr ? std::string() : *found;
}

bool IsHopKey(absl::string_view key) {
  return absl::StartsWith(key, "grpc-") || absl::StartsWith(key, ":") || key == "te" ||
         key == "content-type" || key == "host" || key == "user-agent";
}

CallHeader Forwarded(const CallHeader& header, absl::string_view caller, bool keep_token) {
  CallHeader out;
  out.method = header.method;
  out.deadline = header.deadline;
  out.unary = header.unary;
  out.metadata.reserve(header.metadata.size() + 1);
  for (const auto& [key, value] : header.metadata) {
    if (IsHopKey(key)) continue;
    if (absl::StartsWith(key, kReservedPrefix) && key != kPermitKey) continue;
    if (key == kAuthorizationKey && !keep_token) continue;
    out.metadata.emplace_back(key, value);
  }
  if (!caller.empty()) out.metadata.emplace_back(kCallerKey, std::string(caller));
  return out;
}

}  // namespace oncomesh::relay
