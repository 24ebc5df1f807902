// SPDX-License-Identifier: Apache-2.0
// Channels between the services of the mesh, and from a person's program to a front door.
#pragma once

#include <grpcpp/channel.h>
#include <grpcpp/client_context.h>

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"

namespace oncomesh::rpc {

// The largest message any service takes. Bytes in bulk are streamed in chunks of at most 1 MiB.
inline constexpr int kMaxMessageBytes = 4 << 20;

// Metadata keys of the mesh. Relays strip them from whatever comes from outside and set their own.
inline constexpr char kNodeKey[] = "oncomesh-node";      // the node a hub service calls
inline constexpr char kCallerKey[] = "oncomesh-caller";  // the service that called, set by relays
inline constexpr char kShapeKey[] = "oncomesh-shape";    // "unary": one message each way
inline constexpr char kPermitKey[] = "oncomesh-permit";  // compact JWS

struct ChannelOptions {
  std::string target;        // host:port
  std::string identity_dir;  // the caller's own
  std::string trust_domain;
  std::string peer;  // path the server must have, e.g. "hub/relay"
  std::string node;  // through the hub relay's downlink port: the node meant
};

// A channel with mutual TLS. It adds the node and the shape hint to every call, and makes calls
// that may be repeated again when nobody answered (retry.h). Never fails: a server that is not
// there shows at the first call.
std::shared_ptr<grpc::Channel> Connect(const ChannelOptions& options);

// The same to the front door `uri` (FrontDoorUri) with the person's token (empty: none).
// Errors: NOT_FOUND (FILE_NOT_FOUND) for the CA file.
absl::StatusOr<std::shared_ptr<grpc::Channel>> ConnectFrontDoor(const std::string& endpoint,
                                                                const std::string& ca_file,
                                                                const std::string& uri,
                                                                const std::string& token);

// Sets the deadline of a call; every service refuses a call without one.
void SetDeadline(grpc::ClientContext& context, absl::Duration timeout);

}  // namespace oncomesh::rpc
