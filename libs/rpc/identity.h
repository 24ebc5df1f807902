// SPDX-License-Identifier: Apache-2.0
// Who a service is in the mesh: a path below the trust domain, carried as the only URI SAN of its
// certificate, `spiffe://<trust domain>/<path>` with path "hub/<service>" or "node/<id>/<service>".
// The identity folder holds `current/tls.key`, `current/tls.crt` and `current/ca.crt`; `current` is
// a symbolic link that is swapped at renewal, so that key and certificate always match.
#pragma once

#include <grpcpp/security/credentials.h>
#include <grpcpp/security/server_credentials.h>

#include <functional>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"

namespace oncomesh::rpc {

// "hub/relay" from "spiffe://<trust_domain>/hub/relay"; empty when it is not of this form or
// domain.
std::string PathOfUri(absl::string_view uri, absl::string_view trust_domain);
// The node's id in "node/<id>/<service>"; empty for any other path.
std::string NodeOfPath(absl::string_view path);
// "hub/<service>" when `site` is "hub", else "node/<site>/<service>".
std::string ServicePath(absl::string_view site, absl::string_view service);

// Leaves TLS 1.3 only for this process: gRPC 1.51 has no setting for the version, but without a
// TLS 1.2 cipher suite there is no TLS 1.2. Call it first in main.
void AllowOnlyTls13();

// Waits until the identity folder is complete. Errors: DEADLINE_EXCEEDED (IDENTITY_MISSING).
absl::Status WaitForIdentity(const std::string& identity_dir, absl::Duration timeout);

// Server credentials that follow a renewal without a restart. With `clients` a client certificate
// of the mesh is required in the handshake, else none is asked for (a front door).
enum class Clients { kMesh, kAnyone };
// Whether a client whose certificate has exactly this path in the trust domain may connect. Called
// in the handshake, once for a connection and not for every call; any thread.
using AcceptClient = std::function<bool(absl::string_view path)>;
std::shared_ptr<grpc::ServerCredentials> IdentityServerCredentials(const std::string& identity_dir,
                                                                   Clients clients);
// For Clients::kMesh: a client without exactly one URI SAN, one of another trust domain, and one
// that is not accepted, do not get past the handshake (at the client: UNAVAILABLE).
std::shared_ptr<grpc::ServerCredentials> IdentityServerCredentials(const std::string& identity_dir,
                                                                   const std::string& trust_domain,
                                                                   AcceptClient accept);

// Channel credentials with the service's own certificate; the server must show exactly one URI SAN,
// that of `peer_path` in `trust_domain`.
std::shared_ptr<grpc::ChannelCredentials> IdentityChannelCredentials(
    const std::string& identity_dir, const std::string& trust_domain, const std::string& peer_path);

// The URI of a site's relay, which is its front door.
std::string FrontDoorUri(absl::string_view trust_domain, absl::string_view site);
// The DNS name that the relay's certificate carries for clients that can check no URI:
// "hub.<trust domain>", "<node>.node.<trust domain>". No name server needs to know it. Empty for
// another path.
std::string FrontDoorDnsName(absl::string_view trust_domain, absl::string_view path);

// Channel credentials of a person's program: no certificate of its own; the server must chain to
// the authority in `ca_file`, and show exactly one URI SAN, `uri`. One authority vouches for every
// site, so the authority alone would let any node stand in for the hub.
// Errors: NOT_FOUND when the file is missing.
absl::StatusOr<std::shared_ptr<grpc::ChannelCredentials>> FrontDoorCredentials(
    const std::string& ca_file, const std::string& uri);

}  // namespace oncomesh::rpc
