// SPDX-License-Identifier: Apache-2.0
#include "services/relay/hub_lane.h"

#include <utility>

#include "absl/time/clock.h"
#include "libs/base/error.h"

namespace oncomesh::relay {
namespace {

absl::Status NodeLeft() {
  return base::Error(absl::StatusCode::kUnavailable, "NODE_LEFT",
                     "the node left while the call ran; it may or may not have done its work");
}

}  // namespace

void HubLane::Open() {
  stream_->Observe(shared_from_this());
  sending_ = true;
  ResponsePart part;
  part.initial.emplace();
  stream_->Send(std::move(part));
}

void HubLane::Carry(std::shared_ptr<LaneCall> call, CallHeader header, RequestPart first) {
  call_ = std::move(call);
  end_sent_ = false;
  answered_ = false;
  RequestFrame frame;
  frame.call = std::move(header);
  frame.part = std::move(first);
  Send(std::move(frame));
}

void HubLane::Write(RequestPart part) {
  RequestFrame frame;
  frame.part = std::move(part);
  Send(std::move(frame));
}

void HubLane::Send(RequestFrame frame) {
  sending_ = true;
  end_sent_ = frame.part.end;
  ResponsePart part;
  part.message = EncodeFrame(std::move(frame), absl::Now());
  stream_->Send(std::move(part));
}

void HubLane::Read() {
  if (reading_ || lost_) return;
  reading_ = true;
  stream_->Read();
}

void HubLane::OnSent() {
  sending_ = false;
  if (!open_) {
    open_ = true;
    if (!lost_) owner_->OnLaneFree(*this);
  } else if (call_ != nullptr) {
    std::shared_ptr<LaneCall> call = call_;
    if (call->observer_ != nullptr) call->observer_->OnWritten();
  } else if (!lost_) {
    AfterTrailer();
  }
}

void HubLane::OnRequest(RequestPart part) {
  reading_ = false;
  if (lost_) return;
  if (part.end || !part.message || call_ == nullptr) {
    return Lose(base::Error(absl::StatusCode::kUnavailable, "NODE_LEFT",
                            "the node ended a lane out of turn"),
                true);
  }
  absl::StatusOr<ResponsePart> response = ParseResponseFrame(*std::move(part.message));
  if (response.ok() && response->initial && answered_) {
    // Each frame is good, their order is not; gRPC would end the process over it.
    response = absl::InvalidArgumentError("an answer begins twice");
  }
  answered_ = true;
  if (!response.ok()) {
    return Lose(
        base::Annotate(absl::Status(absl::StatusCode::kInternal, response.status().message()),
                       "the node's relay broke the protocol: "),
        true);
  }
  std::shared_ptr<HubLane> self = shared_from_this();
  if (!response->trailer) return call_->Deliver(*std::move(response));
  std::shared_ptr<LaneCall> call = std::move(call_);
  call_ = nullptr;
  call->Deliver(*std::move(response));
  if (!sending_ && !lost_) AfterTrailer();
}

void HubLane::AfterTrailer() {
  if (end_sent_) return owner_->OnLaneFree(*this);
  // The service was done before the caller was: the node waits for the end marker, and discards
  // what comes before it.
  RequestFrame frame;
  frame.part.end = true;
  Send(std::move(frame));
}

void HubLane::Retire() {
  lost_ = true;
  sending_ = true;
  ResponsePart part;
  part.trailer.emplace();
  stream_->Send(std::move(part));
  Owner* owner = owner_;
  owner_ = nullptr;
  owner->OnLaneGone(*this, /*reset=*/false);
}

void HubLane::Abandon() {
  call_ = nullptr;
  Lose(absl::OkStatus(), true);
}

void HubLane::Cut(const absl::Status& status) {
  owner_ = nullptr;
  Lose(status, true);
}

void HubLane::Lose(const absl::Status& status, bool reset) {
  if (lost_) return;
  std::shared_ptr<HubLane> self = shared_from_this();
  lost_ = true;
  std::shared_ptr<LaneCall> call = std::move(call_);
  call_ = nullptr;
  if (reset) stream_->Cancel();
  if (owner_ != nullptr) owner_->OnLaneGone(*this, reset);
  owner_ = nullptr;
  if (call != nullptr) call->End(status);
}

void HubLane::OnClosed(bool) { Lose(NodeLeft(), /*reset=*/false); }

void LaneCall::Start(CallHeader header, RequestPart first) {
  started_ = true;
  header_ = std::move(header);
  first_ = std::move(first);
  std::shared_ptr<LaneSource> source = source_.lock();
  if (source == nullptr) return End(NodeLeft());
  source->Place(shared_from_this());
}

void LaneCall::Board(std::shared_ptr<HubLane> lane) {
  lane_ = std::move(lane);
  lane_->Carry(shared_from_this(), std::move(header_), std::move(first_));
  if (read_wanted_) lane_->Read();
}

void LaneCall::Write(RequestPart part) {
  if (lane_ != nullptr) lane_->Write(std::move(part));
}

void LaneCall::Read() {
  if (lane_ != nullptr) {
    lane_->Read();
  } else {
    read_wanted_ = true;
  }
}

void LaneCall::Cancel() {
  std::shared_ptr<LaneCall> self = shared_from_this();
  if (lane_ != nullptr) {
    lane_->Abandon();
  } else if (std::shared_ptr<LaneSource> source = source_.lock(); source != nullptr) {
    source->Withdraw(self);
  }
  End(absl::CancelledError("cancelled by the caller"));
}

void LaneCall::End(const absl::Status& status) {
  ResponsePart part;
  part.trailer = TrailerOf(status);
  Deliver(std::move(part));
}

void LaneCall::Deliver(ResponsePart part) {
  std::shared_ptr<Observer> observer = observer_;
  if (part.trailer) {
    lane_ = nullptr;
    observer_ = nullptr;
  }
  if (observer != nullptr) observer->OnResponse(std::move(part));
}

}  // namespace oncomesh::relay
