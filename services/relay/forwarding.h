// SPDX-License-Identifier: Apache-2.0
// Who calls, by their certificate, and what of a call's metadata goes on.
#pragma once

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "services/relay/call.h"

namespace oncomesh::relay {

inline constexpr char kReservedPrefix[] = "oncomesh-";
inline constexpr char kNodeKey[] = "oncomesh-node";      // the node a hub service calls
inline constexpr char kCallerKey[] = "oncomesh-caller";  // set by relays alone
inline constexpr char kShapeKey[] = "oncomesh-shape";    // "unary": one message each way
inline constexpr char kUnary[] = "unary";
inline constexpr char kPermitKey[] = "oncomesh-permit";
inline constexpr char kAuthorizationKey[] = "authorization";

// The client of a connection.
struct Peer {
  enum class Kind { kAnyone, kHubService, kNodeService };
  Kind kind = Kind::kAnyone;  // kAnyone: no certificate, somebody at a front door
  std::string node;           // of kNodeService
  std::string service;        // "training"
  std::string path() const;   // "hub/training", "node/lisbon/training"
};

// From the URI names of the client's certificate. Errors: UNAUTHENTICATED (PEER_UNKNOWN) for more
// than one name, and for one that is no service of this trust domain.
absl::StatusOr<Peer> PeerOf(const std::vector<std::string>& uris, absl::string_view trust_domain);
// The same from a path, "hub/training".
absl::StatusOr<Peer> PeerOfPath(absl::string_view path);

// The only value of `key`, empty when it is absent.
// Errors: INVALID_ARGUMENT (METADATA_AMBIGUOUS) when it stands twice.
absl::StatusOr<std::string> SingleValue(const CallHeader& header, absl::string_view key);

// The header to pass on: of the mesh's own keys only the permit is kept, and the person's token
// only with `keep_token`. `caller`, if not empty, is who the receiver is told that calls.
CallHeader Forwarded(const CallHeader& header, absl::string_view caller, bool keep_token);

// Keys that belong to one hop of HTTP/2 and gRPC, and are never passed on.
bool IsHopKey(absl::string_view key);

}  // namespace oncomesh::relay
