// SPDX-License-Identifier: Apache-2.0
#include "services/relay/node_session.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "libs/base/error.h"
#include "libs/base/log.h"

namespace oncomesh::relay {
namespace {

constexpr absl::Duration kHelloTimeout = absl::Seconds(15);
// The control stream carries a few messages a minute; a node that does not take them is no reason
// to collect them. A cancelled lane is reset besides.
constexpr size_t kMaxToTell = 1024;
constexpr size_t kMaxControlBytes = 4096;
constexpr size_t kMaxVersionBytes = 64;

}  // namespace

NodeSession::NodeSession(std::string node, std::string id, std::shared_ptr<IncomingCall> control,
                         LaneLimits limits, Loop& loop, Events events)
    : node_(std::move(node)),
      id_(std::move(id)),
      control_(std::move(control)),
      limits_(limits),
      loop_(loop),
      events_(std::move(events)),
      wanted_idle_(limits.idle) {}

void NodeSession::Open() {
  control_->Observe(shared_from_this());
  std::weak_ptr<NodeSession> weak = weak_from_this();
  hello_timer_ = loop_.After(kHelloTimeout, [weak] {
    if (auto self = weak.lock(); self != nullptr && !self->connected_) {
      self->Cut(base::Error(absl::StatusCode::kDeadlineExceeded, "HELLO_MISSING",
                            "the node's relay opened a control stream and said nothing"));
    }
  });
  control_->Read();
}

void NodeSession::OnRequest(RequestPart part) {
  if (ended_) return;
  v1::ControlFromNode message;
  if (part.end || !part.message) {
    return Cut(base::Error(absl::StatusCode::kUnavailable, "NODE_LEFT", "the node said goodbye"));
  }
  if (part.message->size() > kMaxControlBytes ||
      !message.ParseFromString(part.message->ToString())) {
    return Cut(base::Error(absl::StatusCode::kInvalidArgument, "FRAME_INVALID",
                           "a control message cannot be read"));
  }
  switch (message.kind_case()) {
    case v1::ControlFromNode::kHello: {
      if (message.hello().protocol() != kProtocol) {
        return Cut(base::Error(
            absl::StatusCode::kFailedPrecondition, "PROTOCOL_UNKNOWN",
            absl::StrCat("this hub's relay speaks protocol ", kProtocol, ", the node's ",
                         message.hello().protocol(), "; install the same release at both"),
            {{"protocol", absl::StrCat(message.hello().protocol())}}));
      }
      if (connected_) break;
      software_version_ = message.hello().software_version();
      // It is shown in answers, tables and logs of the hub: no text of another site goes there as
      // is.
      if (software_version_.size() > kMaxVersionBytes ||
          !std::all_of(software_version_.begin(), software_version_.end(),
                       [](char c) { return c > 0x20 && c < 0x7f; })) {
        software_version_.clear();
        return Cut(base::Error(absl::StatusCode::kInvalidArgument, "FRAME_INVALID",
                               "the version of the node's relay has at most 64 characters of "
                               "printable ASCII"));
      }
      connected_ = true;
      hello_timer_ = nullptr;
      v1::ControlFromHub answer;
      answer.mutable_welcome()->set_protocol(kProtocol);
      answer.mutable_welcome()->set_session(id_);
      answer.mutable_welcome()->mutable_lanes()->set_idle(wanted_idle_);
      answer.mutable_welcome()->mutable_lanes()->set_at_most(limits_.lanes);
      Tell(std::move(answer));
      events_.connected(*this);
      break;
    }
    case v1::ControlFromNode::kDrain:
      node_drains_ = true;
      base::Log(base::Level::kInfo, "node.draining", {{"node", node_}});
      EndIfDrained();
      break;
    case v1::ControlFromNode::KIND_NOT_SET:
      break;  // of a later release
  }
  if (!ended_) control_->Read();
}

void NodeSession::Tell(v1::ControlFromHub message) {
  if (ended_ || to_tell_.size() >= kMaxToTell) return;
  to_tell_.push_back(std::move(message));
  SendNext();
}

void NodeSession::SendNext() {
  if (telling_ || to_tell_.empty()) return;
  telling_ = true;
  ResponsePart part;
  part.message = Message::Copy(to_tell_.front().SerializeAsString());
  to_tell_.pop_front();
  control_->Send(std::move(part));
}

void NodeSession::OnSent() {
  telling_ = false;
  if (!ended_) SendNext();
}

void NodeSession::OnClosed(bool) {
  Cut(base::Error(absl::StatusCode::kUnavailable, "NODE_LEFT",
                  "the node left while the call ran; it may or may not have done its work"));
}

void NodeSession::AnnounceDrain() {
  v1::ControlFromHub message;
  message.mutable_drain();
  Tell(std::move(message));
}

void NodeSession::Cut(const absl::Status& status) {
  if (ended_) return;
  std::shared_ptr<NodeSession> self = shared_from_this();
  ended_ = true;
  hello_timer_ = nullptr;
  to_tell_.clear();
  if (telling_) {
    control_->Cancel();
  } else {
    telling_ = true;
    ResponsePart part;
    part.trailer = TrailerOf(status);
    control_->Send(std::move(part));
  }
  std::map<HubLane*, std::shared_ptr<HubLane>> lanes = std::move(lanes_);
  std::deque<std::shared_ptr<LaneCall>> waiting = std::move(waiting_);
  lanes_.clear();
  idle_.clear();
  waiting_.clear();
  // A caller is told that it may try again, whatever the node is told.
  absl::Status gone = base::Error(
      absl::StatusCode::kUnavailable, "NODE_LEFT",
      "the node left while the call ran; it may or may not have done its work", {{"node", node_}});
  for (auto& [key, lane] : lanes) lane->Cut(gone);
  for (auto& call : waiting) {
    call->End(base::Error(absl::StatusCode::kUnavailable, "NODE_LEFT",
                          "the node left before the call could reach it", {{"node", node_}}));
  }
  events_.ended(*this);
}

void NodeSession::AddLane(std::shared_ptr<IncomingCall> stream, int64_t number) {
  if (ended_ || static_cast<int>(lanes_.size()) >= limits_.lanes) {
    return Refuse(stream, base::Error(absl::StatusCode::kResourceExhausted, "TOO_MANY_LANES",
                                      "the node has all the lanes it may have"));
  }
  auto lane = std::make_shared<HubLane>(std::move(stream), number, this);
  lanes_.emplace(lane.get(), lane);
  lane->Open();
}

void NodeSession::OnLaneFree(HubLane& lane) {
  if (!waiting_.empty()) {
    std::shared_ptr<LaneCall> call = std::move(waiting_.front());
    waiting_.pop_front();
    call->Board(lane.shared_from_this());
  } else if (static_cast<int>(idle_.size()) >= std::max(limits_.idle_to_keep, limits_.idle)) {
    lane.Retire();
  } else {
    idle_.push_back(&lane);
  }
  EndIfDrained();
}

void NodeSession::EndIfDrained() {
  // The node waits for this: only the hub knows that every answer has reached it.
  if (node_drains_ && busy_lanes() == 0 && waiting_.empty()) Cut(absl::OkStatus());
}

void NodeSession::OnLaneGone(HubLane& lane, bool reset) {
  if (reset) {
    v1::ControlFromHub message;
    message.mutable_cancel_lane()->set_lane(lane.number());
    Tell(std::move(message));
  }
  idle_.erase(std::remove(idle_.begin(), idle_.end(), &lane), idle_.end());
  lanes_.erase(&lane);
}

void NodeSession::Place(std::shared_ptr<LaneCall> call) {
  if (!connected()) {
    return call->End(base::Error(absl::StatusCode::kUnavailable, "NODE_NOT_CONNECTED",
                                 "the node is not connected to the hub", {{"node", node_}}));
  }
  if (!idle_.empty()) {
    HubLane* lane = idle_.back();
    idle_.pop_back();
    return call->Board(lane->shared_from_this());
  }
  if (waiting_.size() >= limits_.waiting) {
    return call->End(base::Error(absl::StatusCode::kResourceExhausted, "NODE_BUSY",
                                 "too many calls wait for this node; try again later",
                                 {{"node", node_}}));
  }
  waiting_.push_back(std::move(call));
  WantMoreLanes();
}

// A call that waits costs a round trip for its lane; the next burst of this size finds them ready.
void NodeSession::WantMoreLanes() {
  const int more = std::min(2 * wanted_idle_, limits_.idle_to_keep);
  if (more <= wanted_idle_) return;
  wanted_idle_ = more;
  v1::ControlFromHub message;
  message.mutable_wanted_lanes()->set_idle(wanted_idle_);
  message.mutable_wanted_lanes()->set_at_most(limits_.lanes);
  Tell(std::move(message));
}

void NodeSession::Withdraw(const std::shared_ptr<LaneCall>& call) {
  waiting_.erase(std::remove(waiting_.begin(), waiting_.end(), call), waiting_.end());
}

}  // namespace oncomesh::relay
