// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>

#include "oncomesh/relay/v1/lane.pb.h"
#include "services/relay/backoff.h"
#include "services/relay/call.h"
#include "services/relay/loop.h"
#include "services/relay/node_lane.h"

namespace oncomesh::relay {

// The node's connection to the hub: dials, says hello, keeps idle lanes open, and dials again when
// it breaks. Every attempt is a new connection; how long to wait between two is decided here alone.
// On the loop's thread.
class HubLink final : public OutgoingCall::Observer,
                      public NodeLane::Owner,
                      public std::enable_shared_from_this<HubLink> {
 public:
  struct Deps {
    Loop& loop;
    Backoff backoff;
    std::string software_version;
    // A new connection to the hub's relay; it opens with the first call.
    std::function<std::shared_ptr<Line>()> dial;
    // A call from the hub.
    std::function<void(std::shared_ptr<IncomingCall>)> arrived;
  };

  explicit HubLink(Deps deps) : deps_(std::move(deps)) {}

  void Start();
  // Tells the hub that no new calls are wanted; opens no more lanes. The hub ends the connection
  // when the calls on it have ended; `gone` is then called, at once when there is none.
  void Drain(std::function<void()> gone);
  // Ends the connection now and dials no more.
  void Stop();

  // The connection, for calls to hub services; nullptr while there is none.
  std::shared_ptr<Line> line() const { return welcomed_ ? line_ : nullptr; }
  int busy_lanes() const { return busy_; }
  int lanes() const { return static_cast<int>(lanes_.size()); }

  void OnWritten() override;
  void OnResponse(ResponsePart part) override;
  void OnLaneIdle(NodeLane& lane) override;
  void OnLaneCall(NodeLane& lane, std::shared_ptr<IncomingCall> call) override;
  void OnLaneGone(NodeLane& lane) override;

 private:
  struct Kept {
    std::shared_ptr<NodeLane> lane;
    enum { kOpening, kIdle, kBusy } state = kOpening;
  };
  void Dial();
  void Refill();
  void TellNext();
  void TellGone();
  void Tell(v1::ControlFromNode message);
  void Hear(const v1::ControlFromHub& message);
  void Lost(const Trailer& trailer);
  void Enter(NodeLane& lane, decltype(Kept::state) state);

  Deps deps_;
  std::function<void()> gone_;
  std::shared_ptr<Line> line_;
  std::shared_ptr<OutgoingCall> control_;
  std::unique_ptr<Loop::Timer> timer_;  // to dial, or for the welcome to come
  bool writing_ = false;                // a Start or Write on the control stream is out
  bool hello_told_ = false;
  bool welcomed_ = false;
  bool draining_ = false;
  bool drain_told_ = false;
  bool stopped_ = false;
  std::string session_;
  int wanted_idle_ = 0;
  int at_most_ = 0;
  int64_t next_lane_ = 1;
  std::map<int64_t, Kept> lanes_;
  int free_ = 0;  // idle or being opened
  int busy_ = 0;
};

}  // namespace oncomesh::relay
