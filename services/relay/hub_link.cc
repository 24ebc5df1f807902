// SPDX-License-Identifier: Apache-2.0
#include "services/relay/hub_link.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "libs/base/log.h"
#include "services/relay/node_session.h"

namespace oncomesh::relay {
namespace {

constexpr absl::Duration kWelcomeTimeout = absl::Seconds(15);
constexpr size_t kMaxControlBytes = 4096;
constexpr int kMaxIdleLanes = 1000;

}  // namespace

void HubLink::Start() { Dial(); }

void HubLink::Dial() {
  if (stopped_ || draining_) return;
  line_ = deps_.dial();
  control_ = line_->NewCall();
  writing_ = true;
  hello_told_ = false;
  drain_told_ = false;
  control_->Observe(shared_from_this());
  std::weak_ptr<HubLink> weak = weak_from_this();
  timer_ = deps_.loop.After(kWelcomeTimeout, [weak] {
    if (auto self = weak.lock(); self != nullptr && self->control_ != nullptr) {
      self->control_->Cancel();
    }
  });
  CallHeader header;
  header.method = kControlMethod;
  control_->Start(std::move(header), {});
  if (control_ != nullptr) control_->Read();
}

void HubLink::OnWritten() {
  writing_ = false;
  TellNext();
}

void HubLink::TellNext() {
  if (control_ == nullptr || writing_) return;
  if (!hello_told_) {
    hello_told_ = true;
    v1::ControlFromNode message;
    message.mutable_hello()->set_protocol(kProtocol);
    message.mutable_hello()->set_software_version(deps_.software_version);
    return Tell(std::move(message));
  }
  if (draining_ && !drain_told_) {
    drain_told_ = true;
    v1::ControlFromNode message;
    message.mutable_drain();
    Tell(std::move(message));
  }
}

void HubLink::Tell(v1::ControlFromNode message) {
  writing_ = true;
  RequestPart part;
  part.message = Message::Copy(message.SerializeAsString());
  control_->Write(std::move(part));
}

void HubLink::OnResponse(ResponsePart part) {
  if (part.trailer) return Lost(*part.trailer);
  if (part.message) {
    v1::ControlFromHub message;
    if (part.message->size() > kMaxControlBytes ||
        !message.ParseFromString(part.message->ToString())) {
      return control_->Cancel();
    }
    Hear(message);
  }
  if (control_ != nullptr) control_->Read();
}

void HubLink::Hear(const v1::ControlFromHub& message) {
  auto set_wanted = [&](const v1::WantedLanes& wanted) {
    wanted_idle_ = std::clamp(wanted.idle(), 1, kMaxIdleLanes);
    at_most_ = std::max(wanted.at_most(), wanted_idle_);
  };
  switch (message.kind_case()) {
    case v1::ControlFromHub::kWelcome:
      if (welcomed_) break;
      welcomed_ = true;
      timer_ = nullptr;
      session_ = message.welcome().session();
      set_wanted(message.welcome().lanes());
      base::Log(base::Level::kInfo, "hub.connected", {{"lanes", wanted_idle_}});
      Refill();
      break;
    case v1::ControlFromHub::kWantedLanes:
      set_wanted(message.wanted_lanes());
      Refill();
      break;
    case v1::ControlFromHub::kCancelLane:
      if (auto it = lanes_.find(message.cancel_lane().lane()); it != lanes_.end()) {
        std::shared_ptr<NodeLane> lane = it->second.lane;
        lane->Reset();
      }
      break;
    case v1::ControlFromHub::kDrain:
      base::Log(base::Level::kInfo, "hub.draining");
      break;
    case v1::ControlFromHub::KIND_NOT_SET:
      break;  // of a later release
  }
}

void HubLink::Refill() {
  while (welcomed_ && !draining_ && free_ < wanted_idle_ && lanes() < at_most_) {
    int64_t number = next_lane_++;
    auto lane = std::make_shared<NodeLane>(line_->NewCall(), number, this);
    lanes_[number].lane = lane;
    ++free_;
    CallHeader header;
    header.method = kCarryMethod;
    header.metadata = {{kSessionKey, session_}, {kLaneKey, absl::StrCat(number)}};
    lane->Open(std::move(header));
  }
}

void HubLink::Enter(NodeLane& lane, decltype(Kept::state) state) {
  Kept& kept = lanes_[lane.number()];
  --(kept.state == Kept::kBusy ? busy_ : free_);
  kept.state = state;
  ++(kept.state == Kept::kBusy ? busy_ : free_);
}

void HubLink::OnLaneIdle(NodeLane& lane) {
  Enter(lane, Kept::kIdle);
  if (welcomed_) deps_.backoff.Reset();  // the connection is good
}

void HubLink::OnLaneCall(NodeLane& lane, std::shared_ptr<IncomingCall> call) {
  Enter(lane, Kept::kBusy);
  Refill();
  deps_.arrived(std::move(call));
}

void HubLink::OnLaneGone(NodeLane& lane) {
  auto it = lanes_.find(lane.number());
  if (it == lanes_.end()) return;
  Kept kept = std::move(it->second);
  --(kept.state == Kept::kBusy ? busy_ : free_);
  lanes_.erase(it);
  // A lane that could not be opened is not tried again at once: the next one that is taken, or the
  // next connection, opens others.
  if (kept.state != Kept::kOpening) Refill();
}

void HubLink::Lost(const Trailer& trailer) {
  bool was_welcomed = std::exchange(welcomed_, false);
  control_ = nullptr;
  line_ = nullptr;
  timer_ = nullptr;
  writing_ = false;
  std::map<int64_t, Kept> lanes = std::move(lanes_);
  lanes_.clear();
  free_ = busy_ = 0;
  for (auto& [number, kept] : lanes) kept.lane->Cut();
  if (stopped_ || draining_) return TellGone();
  absl::Duration wait = deps_.backoff.Next();
  base::Log(was_welcomed ? base::Level::kWarning : base::Level::kInfo,
            was_welcomed ? "hub.lost" : "hub.unreachable",
            {{"code", absl::StatusCodeToString(static_cast<absl::StatusCode>(trailer.code))},
             {"message", trailer.message},
             {"retry_ms", absl::ToInt64Milliseconds(wait)}});
  std::weak_ptr<HubLink> weak = weak_from_this();
  timer_ = deps_.loop.After(wait, [weak] {
    if (auto self = weak.lock(); self != nullptr) self->Dial();
  });
}

void HubLink::Drain(std::function<void()> gone) {
  draining_ = true;
  gone_ = std::move(gone);
  TellNext();
  if (control_ != nullptr) return;
  timer_ = nullptr;  // the next dialling
  TellGone();
}

void HubLink::TellGone() {
  std::function<void()> gone = std::move(gone_);
  gone_ = nullptr;
  if (gone) gone();
}

void HubLink::Stop() {
  stopped_ = true;
  timer_ = nullptr;
  if (control_ != nullptr) control_->Cancel();
  // The lanes go with the control stream, when its trailer comes.
}

}  // namespace oncomesh::relay
