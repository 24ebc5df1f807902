// SPDX-License-Identifier: Apache-2.0
// The one place where absl::Status meets grpc::Status. Payloads travel as google.rpc.Status
// details.
#pragma once

#include <grpcpp/support/status.h>

#include "absl/status/status.h"

namespace oncomesh::rpc {

grpc::Status ToGrpc(const absl::Status& status);
absl::Status FromGrpc(const grpc::Status& status);

}  // namespace oncomesh::rpc
