// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <memory>

#include "services/relay/call.h"
#include "services/relay/frame.h"

namespace oncomesh::relay {

// The node's end of a lane: a stream the node has opened, on which the hub's calls arrive one after
// the other, each as an IncomingCall. On the loop's thread.
class NodeLane final : public OutgoingCall::Observer,
                       public std::enable_shared_from_this<NodeLane> {
 public:
  class Owner {
   public:
    virtual ~Owner() = default;
    // The hub has taken it; or the call on it has ended, and it waits for the next.
    virtual void OnLaneIdle(NodeLane& lane) = 0;
    // A call arrived; the lane is busy.
    virtual void OnLaneCall(NodeLane& lane, std::shared_ptr<IncomingCall> call) = 0;
    // It carries no more calls.
    virtual void OnLaneGone(NodeLane& lane) = 0;
  };

  NodeLane(std::shared_ptr<OutgoingCall> stream, int64_t number, Owner* owner)
      : stream_(std::move(stream)), number_(number), owner_(owner) {}

  void Open(CallHeader header);
  int64_t number() const { return number_; }
  bool busy() const { return call_ != nullptr || discarding_; }
  // Ends it, and a call on it, at once. The owner is told.
  void Reset();
  // The same, and the owner hears nothing any more.
  void Cut();

  void OnWritten() override;
  void OnResponse(ResponsePart part) override;

 private:
  class Arrived;
  void Take(RequestFrame frame);
  void Read();
  void Send(ResponsePart part);
  void CallOver();

  const std::shared_ptr<OutgoingCall> stream_;
  const int64_t number_;
  Owner* owner_;
  std::shared_ptr<Arrived> call_;
  bool opened_ = false;  // the hub has taken it
  bool gone_ = false;
  bool reading_ = false;     // a Read is out
  bool end_seen_ = false;    // of the call on it
  bool last_sent_ = false;   // its trailer is being written
  bool discarding_ = false;  // the call is over here, its end marker has not come
};

}  // namespace oncomesh::relay
