// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <string>

#include "services/relay/active_calls.h"
#include "services/relay/forwarding.h"
#include "services/relay/node_directory.h"
#include "services/relay/routes.h"

namespace oncomesh::relay {

// The hub's relay: decides by the caller's certificate what a call is. A node's relay brings its
// control stream, its lanes and the calls of its services to the hub's; a hub service calls a node;
// who has no certificate is at the front door. On the loop's thread.
class HubRelay {
 public:
  HubRelay(std::string trust_domain, NodeDirectory& nodes, const Routes& routes)
      : trust_domain_(std::move(trust_domain)), nodes_(nodes), routes_(routes) {}

  void OnCall(std::shared_ptr<IncomingCall> call);
  // New calls are refused from now on: UNAVAILABLE (RELAY_DRAINING).
  void Drain();
  ActiveCalls& calls() { return calls_; }

 private:
  void OnNodeRelay(const std::string& node, std::shared_ptr<IncomingCall> call);
  void OnHubService(const Peer& peer, std::shared_ptr<IncomingCall> call);

  const std::string trust_domain_;
  NodeDirectory& nodes_;
  const Routes& routes_;
  ActiveCalls calls_;
  bool draining_ = false;
};

}  // namespace oncomesh::relay
