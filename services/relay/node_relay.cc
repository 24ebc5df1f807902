// SPDX-License-Identifier: Apache-2.0
#include "services/relay/node_relay.h"

#include <utility>

#include "libs/base/error.h"
#include "services/relay/front_door.h"

namespace oncomesh::relay {
namespace {

absl::Status Draining() {
  return base::Error(absl::StatusCode::kUnavailable, "RELAY_DRAINING",
                     "the node's relay is stopping; try again");
}

}  // namespace

void NodeRelay::OnCall(std::shared_ptr<IncomingCall> call) {
  absl::StatusOr<Peer> peer = PeerOf(call->peer_uris(), trust_domain_);
  if (!peer.ok()) return Refuse(call, peer.status());
  if (draining_) return Refuse(call, Draining());
  if (peer->kind == Peer::Kind::kAnyone) {
    PassToSite(routes_, calls_, Direction::kFrontDoor, std::move(call), "");
    return;
  }
  absl::Status status = NeedDeadline(call->header());
  if (peer->kind != Peer::Kind::kNodeService || peer->node != node_) {
    status = base::Error(absl::StatusCode::kPermissionDenied, "SERVICE_NOT_ALLOWED",
                         "only this node's own services may call the hub through this relay");
  }
  std::shared_ptr<Line> hub = link_->line();
  if (status.ok() && hub == nullptr) {
    status = base::Error(absl::StatusCode::kUnavailable, "HUB_NOT_CONNECTED",
                         "the node has no connection to the hub at the moment; it keeps trying");
  }
  if (!status.ok()) return calls_.Refuse(Direction::kToHub, call, status);
  CallHeader header = Forwarded(call->header(), peer->path(), /*keep_token=*/false);
  if (header.unary) header.metadata.emplace_back(kShapeKey, kUnary);
  calls_.Start(Direction::kToHub, std::move(call), std::move(header), hub->NewCall());
}

void NodeRelay::OnArrived(std::shared_ptr<IncomingCall> call) {
  // The hub speaks for its own services and for nobody at any node.
  absl::StatusOr<Peer> caller = PeerOfPath(call->header().caller);
  if (!caller.ok() || caller->kind != Peer::Kind::kHubService) {
    return calls_.Refuse(Direction::kFromHub, call,
                         base::Error(absl::StatusCode::kUnauthenticated, "PEER_UNKNOWN",
                                     "the hub's relay named a caller that is no hub service"));
  }
  if (draining_) return calls_.Refuse(Direction::kFromHub, call, Draining());
  PassToSite(routes_, calls_, Direction::kFromHub, std::move(call), caller->path());
}

void NodeRelay::Drain(std::function<void()> gone) {
  draining_ = true;
  link_->Drain(std::move(gone));
}

}  // namespace oncomesh::relay
