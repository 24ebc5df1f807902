// SPDX-License-Identifier: Apache-2.0
// Calls through a front door in the name of the person of the context.
#pragma once

#include <grpcpp/grpcpp.h>

#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "libs/base/status_macros.h"
#include "libs/rpc/channel.h"
#include "libs/rpc/status.h"
#include "tools/oncomesh/proto_json.h"
#include "tools/oncomesh/session.h"

namespace oncomesh::cli {

// The text of a token or a permit in a file, without the white space around it. gRPC ends the
// program for metadata that has other characters than these.
// Errors: INVALID_ARGUMENT (`reason`), with `message`, for what is no visible ASCII on one line.
absl::StatusOr<std::string> SignedText(absl::string_view content, absl::string_view reason,
                                       absl::string_view message);

// A channel that carries the person's token: the one of the context's token file, or a fresh one of
// the local issuer for the context's credential.
// Errors: those of Session::LoadContext; UNAVAILABLE (FRONT_DOOR_UNREACHABLE); those of IssueToken.
absl::StatusOr<std::shared_ptr<grpc::Channel>> OpenFrontDoor(const Session& session);
absl::StatusOr<std::shared_ptr<grpc::Channel>> OpenFrontDoor(const Context& context);

// One unary call with a deadline: Call(stub.get(), &Stub::GetRequest, request, seconds).
// Errors: what the service says; UNAVAILABLE gets a hint where to look.
template <typename Stub, typename Request, typename Response>
absl::StatusOr<Response> Call(Stub& stub,
                              grpc::Status (Stub::*method)(grpc::ClientContext*, const Request&,
                                                           Response*),
                              const Request& request, absl::Duration timeout = absl::Seconds(30),
                              const std::string& permit = "") {
  RETURN_IF_ERROR(CheckText(request));
  grpc::ClientContext context;
  rpc::SetDeadline(context, timeout);
  if (!permit.empty()) context.AddMetadata(rpc::kPermitKey, permit);
  Response response;
  absl::Status status = rpc::FromGrpc((stub.*method)(&context, request, &response));
  if (!status.ok()) return status;
  return response;
}

}  // namespace oncomesh::cli
