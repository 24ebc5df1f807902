// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>

#include "absl/status/statusor.h"
#include "libs/rpc/service_runner.h"
#include "services/access/config.pb.h"

namespace oncomesh::access {

// Makes everything the access service owns. At the hub's first start it makes the trust domain and
// the identities of the hub's services; at a node's first start it enrols the node.
absl::StatusOr<std::unique_ptr<rpc::App>> Wire(const config::v1::AccessConfig& config,
                                               rpc::Role role);

}  // namespace oncomesh::access
