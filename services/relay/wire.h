// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <vector>

#include "absl/status/statusor.h"
#include "libs/rpc/service_runner.h"
#include "services/relay/config.pb.h"

namespace oncomesh::relay {

// A relay that runs between Start and Drain.
class RelayApp : public rpc::App {
 public:
  // The TCP ports it listens on: for the site's services, at the front door (0: none), for nodes
  // (0 at a node). After Start.
  struct Ports {
    int services = 0;
    int front_door = 0;
    int nodes = 0;
  };
  virtual Ports ports() const = 0;
};

// Errors: INVALID_ARGUMENT (CONFIG_INVALID, ROUTE_INVALID), DATA_LOSS (SUSPENDED_UNREADABLE).
absl::StatusOr<std::unique_ptr<RelayApp>> WireRelay(const config::v1::RelayConfig& config,
                                                    rpc::Role role);
absl::StatusOr<std::unique_ptr<rpc::App>> Wire(const config::v1::RelayConfig& config,
                                               rpc::Role role);

}  // namespace oncomesh::relay
