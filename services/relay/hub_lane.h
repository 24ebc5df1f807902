// SPDX-License-Identifier: Apache-2.0
// The hub's end of a lane, and the call that travels on it.
#pragma once

#include <cstdint>
#include <memory>

#include "absl/status/status.h"
#include "services/relay/call.h"
#include "services/relay/frame.h"

namespace oncomesh::relay {

class LaneCall;

// One lane: a stream the node opened, on which the hub sends one call after the other. It is free
// when it carries no call. A call that does not end cleanly resets it. On the loop's thread.
class HubLane final : public IncomingCall::Observer, public std::enable_shared_from_this<HubLane> {
 public:
  class Owner {
   public:
    virtual ~Owner() = default;
    // It can carry a call: it is new, or the call before has ended.
    virtual void OnLaneFree(HubLane& lane) = 0;
    // It can carry no more. `reset`: the hub did it, because the caller went away.
    virtual void OnLaneGone(HubLane& lane, bool reset) = 0;
  };

  // `number` is the node's name for it.
  HubLane(std::shared_ptr<IncomingCall> stream, int64_t number, Owner* owner)
      : stream_(std::move(stream)), number_(number), owner_(owner) {}

  void Open();
  int64_t number() const { return number_; }

  // Only when free.
  void Carry(std::shared_ptr<LaneCall> call, CallHeader header, RequestPart first);
  // Only when free: ends the lane without an error.
  void Retire();
  // Ends it at once; a call on it ends with `status`. The owner hears nothing any more.
  void Cut(const absl::Status& status);

  void OnRequest(RequestPart part) override;
  void OnSent() override;
  void OnClosed(bool cancelled) override;

 private:
  friend class LaneCall;
  void Write(RequestPart part);
  void Read();
  void Abandon();
  void Send(RequestFrame frame);
  void AfterTrailer();
  // The lane is lost: its call gets `status`, its owner is told.
  void Lose(const absl::Status& status, bool reset);

  const std::shared_ptr<IncomingCall> stream_;
  const int64_t number_;
  Owner* owner_;
  std::shared_ptr<LaneCall> call_;
  bool open_ = false;      // our initial metadata has gone out
  bool lost_ = false;      // no more calls
  bool sending_ = false;   // a Send is out
  bool reading_ = false;   // a Read is out
  bool end_sent_ = false;  // of the call on it
  bool answered_ = false;  // a part of its answer has come
};

// Finds lanes for calls.
class LaneSource {
 public:
  virtual ~LaneSource() = default;
  // Carries the call on a lane, now or later, or ends it.
  virtual void Place(std::shared_ptr<LaneCall> call) = 0;
  // The call does not wait any more.
  virtual void Withdraw(const std::shared_ptr<LaneCall>& call) = 0;
};

// A call to a node: waits for a lane, then travels on it.
class LaneCall final : public OutgoingCall, public std::enable_shared_from_this<LaneCall> {
 public:
  explicit LaneCall(std::weak_ptr<LaneSource> source) : source_(std::move(source)) {}

  void Observe(std::shared_ptr<Observer> observer) override { observer_ = std::move(observer); }
  void Start(CallHeader header, RequestPart first) override;
  void Write(RequestPart part) override;
  void Read() override;
  void Cancel() override;

  // From the source: travels on `lane` from now on; or ends.
  void Board(std::shared_ptr<HubLane> lane);
  void End(const absl::Status& status);

 private:
  friend class HubLane;
  void Deliver(ResponsePart part);

  std::weak_ptr<LaneSource> source_;
  std::shared_ptr<Observer> observer_;
  std::shared_ptr<HubLane> lane_;
  CallHeader header_;  // while waiting
  RequestPart first_;
  bool started_ = false;
  bool read_wanted_ = false;
};

}  // namespace oncomesh::relay
