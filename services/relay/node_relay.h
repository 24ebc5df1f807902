// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "services/relay/active_calls.h"
#include "services/relay/forwarding.h"
#include "services/relay/hub_link.h"
#include "services/relay/routes.h"

namespace oncomesh::relay {

// A node's relay: the node's services call the hub through it, the hub's calls come out of it, and
// the node's own staff find the node's services at its front door. On the loop's thread.
class NodeRelay {
 public:
  NodeRelay(std::string trust_domain, std::string node, const Routes& routes)
      : trust_domain_(std::move(trust_domain)), node_(std::move(node)), routes_(routes) {}

  // Before any call.
  void Use(std::shared_ptr<HubLink> link) { link_ = std::move(link); }

  // From one of the node's ports.
  void OnCall(std::shared_ptr<IncomingCall> call);
  // From a lane.
  void OnArrived(std::shared_ptr<IncomingCall> call);
  // New calls are refused from now on. `gone` is called when the connection to the hub has ended.
  void Drain(std::function<void()> gone);
  ActiveCalls& calls() { return calls_; }

 private:
  const std::string trust_domain_;
  const std::string node_;
  const Routes& routes_;
  std::shared_ptr<HubLink> link_;
  ActiveCalls calls_;
  bool draining_ = false;
};

}  // namespace oncomesh::relay
