// SPDX-License-Identifier: Apache-2.0
#include "services/relay/node_lane.h"

#include <utility>
#include <vector>

#include "absl/time/clock.h"

namespace oncomesh::relay {

// The call that the lane carries, as the node sees it.
class NodeLane::Arrived final : public IncomingCall {
 public:
  Arrived(std::shared_ptr<NodeLane> lane, CallHeader header, RequestPart first)
      : lane_(std::move(lane)), header_(std::move(header)), first_(std::move(first)) {}

  const CallHeader& header() const override { return header_; }
  const std::vector<std::string>& peer_uris() const override { return none_; }
  void Observe(std::shared_ptr<Observer> observer) override { observer_ = std::move(observer); }

  void Read() override {
    if (first_.message || first_.end) return Deliver(std::exchange(first_, {}));
    if (lane_ != nullptr) lane_->Read();
  }
  void Send(ResponsePart part) override {
    if (lane_ != nullptr) lane_->Send(std::move(part));
  }
  void Cancel() override {
    if (lane_ != nullptr) lane_->Reset();
  }

  void Deliver(RequestPart part) {
    if (std::shared_ptr<Observer> observer = observer_) observer->OnRequest(std::move(part));
  }
  void Sent() {
    if (std::shared_ptr<Observer> observer = observer_) observer->OnSent();
  }
  void Close(bool cancelled) {
    lane_ = nullptr;
    std::shared_ptr<Observer> observer = std::move(observer_);
    observer_ = nullptr;
    if (observer != nullptr) observer->OnClosed(cancelled);
  }

 private:
  std::shared_ptr<NodeLane> lane_;
  const CallHeader header_;
  RequestPart first_;  // came with the header
  const std::vector<std::string> none_;
  std::shared_ptr<Observer> observer_;
};

void NodeLane::Open(CallHeader header) {
  stream_->Observe(shared_from_this());
  stream_->Start(std::move(header), {});
  Read();
}

void NodeLane::Read() {
  if (reading_ || gone_) return;
  reading_ = true;
  stream_->Read();
}

void NodeLane::OnResponse(ResponsePart part) {
  reading_ = false;
  std::shared_ptr<NodeLane> self = shared_from_this();
  if (part.trailer) {
    bool first = !gone_;
    gone_ = true;
    std::shared_ptr<Arrived> call = std::move(call_);
    call_ = nullptr;
    if (call != nullptr) call->Close(/*cancelled=*/true);
    if (first && owner_ != nullptr) owner_->OnLaneGone(*this);
    owner_ = nullptr;
    return;
  }
  if (gone_) return;
  if (part.initial) {
    opened_ = true;
    owner_->OnLaneIdle(*this);
  }
  if (!part.message) return Read();
  absl::StatusOr<RequestFrame> frame = ParseRequestFrame(*std::move(part.message), absl::Now());
  if (!frame.ok()) return Reset();
  Take(*std::move(frame));
}

void NodeLane::Take(RequestFrame frame) {
  if (frame.call.has_value() == busy()) return Reset();  // a call within a call, or none
  if (frame.call) {
    end_seen_ = frame.part.end;
    last_sent_ = false;
    call_ = std::make_shared<Arrived>(shared_from_this(), *std::move(frame.call),
                                      std::move(frame.part));
    owner_->OnLaneCall(*this, call_);
    return;
  }
  if (end_seen_) return Reset();
  end_seen_ = frame.part.end;
  if (!discarding_) return call_->Deliver(std::move(frame.part));
  if (!end_seen_) return Read();
  discarding_ = false;
  owner_->OnLaneIdle(*this);
  Read();
}

void NodeLane::Send(ResponsePart part) {
  if (gone_) return;
  last_sent_ = part.trailer.has_value();
  RequestPart frame;
  frame.message = EncodeFrame(std::move(part));
  stream_->Write(std::move(frame));
}

void NodeLane::OnWritten() {
  if (gone_ || call_ == nullptr) return;  // the stream's own start
  if (!last_sent_) return call_->Sent();
  CallOver();
}

void NodeLane::CallOver() {
  std::shared_ptr<NodeLane> self = shared_from_this();
  std::shared_ptr<Arrived> call = std::move(call_);
  call_ = nullptr;
  discarding_ = !end_seen_;
  call->Close(/*cancelled=*/false);
  if (gone_) return;
  if (!discarding_) owner_->OnLaneIdle(*this);
  Read();
}

void NodeLane::Reset() {
  if (gone_) return;
  std::shared_ptr<NodeLane> self = shared_from_this();
  gone_ = true;
  stream_->Cancel();
  std::shared_ptr<Arrived> call = std::move(call_);
  call_ = nullptr;
  if (call != nullptr) call->Close(/*cancelled=*/true);
  if (owner_ != nullptr) owner_->OnLaneGone(*this);
  owner_ = nullptr;
}

void NodeLane::Cut() {
  owner_ = nullptr;
  Reset();
}

}  // namespace oncomesh::relay
