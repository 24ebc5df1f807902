// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "oncomesh/relay/v1/lane.pb.h"
#include "services/relay/hub_lane.h"
#include "services/relay/loop.h"

namespace oncomesh::relay {

// Methods and metadata between relays.
inline constexpr char kControlMethod[] = "/oncomesh.relay.v1.Lanes/Control";
inline constexpr char kCarryMethod[] = "/oncomesh.relay.v1.Lanes/Carry";
inline constexpr char kSessionKey[] = "oncomesh-session";
inline constexpr char kLaneKey[] = "oncomesh-lane";
inline constexpr int kProtocol = 1;

struct LaneLimits {
  int idle = 16;          // wanted per node, until calls have to wait
  int lanes = 512;        // per node, busy ones included
  size_t waiting = 1024;  // calls per node without a lane
  int idle_to_keep = 64;  // the most that are wanted; free lanes beyond this are given back
};

// One connected node at the hub: its control stream, its lanes, the calls that wait for one.
// Calls get the lane used last, so that after a burst the others fall idle and are given back;
// calls that wait get theirs in the order they came. On the loop's thread.
class NodeSession final : public IncomingCall::Observer,
                          public HubLane::Owner,
                          public LaneSource,
                          public std::enable_shared_from_this<NodeSession> {
 public:
  struct Events {
    std::function<void(NodeSession&)> connected;  // it has said hello
    std::function<void(NodeSession&)> ended;      // once, for every session
  };

  NodeSession(std::string node, std::string id, std::shared_ptr<IncomingCall> control,
              LaneLimits limits, Loop& loop, Events events);

  void Open();
  // A lane the node has opened for this session.
  void AddLane(std::shared_ptr<IncomingCall> stream, int64_t number);
  // Ends the control stream, the lanes and the calls on them now.
  void Cut(const absl::Status& status);
  // Tells the node that the hub is about to stop.
  void AnnounceDrain();

  const std::string& node() const { return node_; }
  const std::string& id() const { return id_; }
  const std::string& software_version() const { return software_version_; }
  bool connected() const { return connected_ && !ended_; }
  bool node_drains() const { return node_drains_; }
  int idle_lanes() const { return static_cast<int>(idle_.size()); }
  int busy_lanes() const { return static_cast<int>(lanes_.size() - idle_.size()); }
  int waiting_calls() const { return static_cast<int>(waiting_.size()); }

  void OnRequest(RequestPart part) override;
  void OnSent() override;
  void OnClosed(bool cancelled) override;
  void OnLaneFree(HubLane& lane) override;
  void OnLaneGone(HubLane& lane, bool reset) override;
  void Place(std::shared_ptr<LaneCall> call) override;
  void Withdraw(const std::shared_ptr<LaneCall>& call) override;

 private:
  void Tell(v1::ControlFromHub message);
  void SendNext();
  void EndIfDrained();
  void WantMoreLanes();

  const std::string node_;
  const std::string id_;
  const std::shared_ptr<IncomingCall> control_;
  const LaneLimits limits_;
  Loop& loop_;
  Events events_;
  std::unique_ptr<Loop::Timer> hello_timer_;
  std::string software_version_;
  int wanted_idle_;  // what the node was asked for last
  bool connected_ = false;
  bool node_drains_ = false;
  bool ended_ = false;

  std::deque<v1::ControlFromHub> to_tell_;
  bool telling_ = false;

  std::map<HubLane*, std::shared_ptr<HubLane>> lanes_;
  std::vector<HubLane*> idle_;  // the one used last at the back
  std::deque<std::shared_ptr<LaneCall>> waiting_;
};

}  // namespace oncomesh::relay
