// SPDX-License-Identifier: Apache-2.0
#include "services/relay/hub_relay.h"

#include <utility>

#include "libs/base/error.h"
#include "services/relay/front_door.h"

namespace oncomesh::relay {

void HubRelay::OnCall(std::shared_ptr<IncomingCall> call) {
  absl::StatusOr<Peer> peer = PeerOf(call->peer_uris(), trust_domain_);
  if (!peer.ok()) return Refuse(call, peer.status());
  if (draining_) {
    return Refuse(call, base::Error(absl::StatusCode::kUnavailable, "RELAY_DRAINING",
                                    "the hub's relay is stopping; try again"));
  }
  switch (peer->kind) {
    case Peer::Kind::kAnyone:
      PassToSite(routes_, calls_, Direction::kFrontDoor, std::move(call), "");
      return;
    case Peer::Kind::kHubService:
      return OnHubService(*peer, std::move(call));
    case Peer::Kind::kNodeService:
      if (peer->service == "relay") return OnNodeRelay(peer->node, std::move(call));
      return calls_.Refuse(Direction::kFromNode, call,
                           base::Error(absl::StatusCode::kPermissionDenied, "SERVICE_NOT_ALLOWED",
                                       "a node's services reach the hub through their relay"));
  }
}

void HubRelay::OnHubService(const Peer& peer, std::shared_ptr<IncomingCall> call) {
  absl::StatusOr<std::string> node = SingleValue(call->header(), kNodeKey);
  absl::Status status = node.status();
  if (status.ok() && node->empty()) {
    status = base::Error(absl::StatusCode::kInvalidArgument, "NODE_NEEDED",
                         "the metadata oncomesh-node must name the node that is called");
  }
  if (status.ok()) status = NeedDeadline(call->header());
  if (!status.ok()) return calls_.Refuse(Direction::kToNode, call, status);
  absl::StatusOr<std::shared_ptr<OutgoingCall>> outgoing = nodes_.Call(*node);
  if (!outgoing.ok()) return calls_.Refuse(Direction::kToNode, call, outgoing.status());
  CallHeader header = Forwarded(call->header(), "", /*keep_token=*/false);
  header.caller = peer.path();
  calls_.Start(Direction::kToNode, std::move(call), std::move(header), *std::move(outgoing));
}

void HubRelay::OnNodeRelay(const std::string& node, std::shared_ptr<IncomingCall> call) {
  if (absl::Status status = nodes_.Admit(node, call->peer_certificate()); !status.ok()) {
    return calls_.Refuse(Direction::kFromNode, call, status);
  }
  const std::string& method = call->header().method;
  if (method == kControlMethod) return nodes_.AddControl(node, std::move(call));
  if (method == kCarryMethod) return nodes_.AddLane(node, std::move(call));
  absl::StatusOr<std::string> named = SingleValue(call->header(), kCallerKey);
  if (!named.ok()) return calls_.Refuse(Direction::kFromNode, call, named.status());
  // Which of its services calls is the node's to say; which node it is, is not.
  Peer caller{Peer::Kind::kNodeService, node, "relay"};
  if (!named->empty()) {
    absl::StatusOr<Peer> claimed = PeerOfPath(*named);
    if (!claimed.ok()) return calls_.Refuse(Direction::kFromNode, call, claimed.status());
    caller.service = claimed->service;
  }
  auto pump = PassToSite(routes_, calls_, Direction::kFromNode, std::move(call), caller.path(),
                         [this, node](const Pump& ended) { nodes_.Untrack(node, ended); });
  if (pump != nullptr && !pump->ended()) nodes_.Track(node, pump);
}

void HubRelay::Drain() {
  draining_ = true;
  nodes_.AnnounceDrain();
}

}  // namespace oncomesh::relay
