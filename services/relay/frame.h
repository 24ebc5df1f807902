// SPDX-License-Identifier: Apache-2.0
// The frames of a lane, as protos/oncomesh/relay/v1/lane.proto lays them down. What comes from the
// other site is checked here, once: nothing that gRPC would choke on gets past the parser.
#pragma once

#include <optional>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "services/relay/call.h"
#include "services/relay/message.h"

namespace oncomesh::relay {

// Hub to node.
struct RequestFrame {
  std::optional<CallHeader> call;
  RequestPart part;
};

// The largest header section; gRPC's own limit on metadata is lower.
inline constexpr size_t kMaxFrameHeaderBytes = 128 << 10;
// How much longer than its message a frame can be.
inline constexpr size_t kMaxFrameOverheadBytes = 2 * kMaxFrameHeaderBytes + 64;

// `now` turns the deadline into what is left of it, and back.
Message EncodeFrame(RequestFrame frame, absl::Time now);
Message EncodeFrame(ResponsePart part);

// Errors: INVALID_ARGUMENT (FRAME_INVALID) for anything the other end of a lane may not send.
absl::StatusOr<RequestFrame> ParseRequestFrame(Message frame, absl::Time now);
absl::StatusOr<ResponsePart> ParseResponseFrame(Message frame);

// What gRPC takes as a key and its value; "grpc-" is gRPC's own.
bool IsMetadatum(absl::string_view key, absl::string_view value);
// "/package.Service/Method".
bool IsMethod(absl::string_view method);

}  // namespace oncomesh::relay
