// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <memory>
#include <set>
#include <string>

#include "services/relay/call.h"
#include "services/relay/pump.h"

namespace oncomesh::relay {

// The way of a call through a relay, as the metrics name it.
enum class Direction { kToNode, kFromHub, kToHub, kFromNode, kFrontDoor };

// The calls that run through a relay now: counts them, so that it can stop when they are done.
// On the loop's thread.
class ActiveCalls {
 public:
  // `ended` is called once, when the call has ended; maybe before Start returns.
  using Ended = std::function<void(const Pump& pump)>;

  std::shared_ptr<Pump> Start(Direction direction, std::shared_ptr<IncomingCall> incoming,
                              CallHeader header, std::shared_ptr<OutgoingCall> outgoing,
                              Ended ended = nullptr);
  // Ends a call that goes nowhere, and counts it.
  void Refuse(Direction direction, const std::shared_ptr<IncomingCall>& call,
              const absl::Status& status);

  size_t size() const { return calls_.size(); }
  // Calls `idle` as soon as there are none; at once when there are none now. One waits at a time.
  void WhenIdle(std::function<void()> idle);
  // Ends them all now.
  void AbortAll(const absl::Status& status);

 private:
  void TellIdle();

  std::set<Pump*> calls_;
  std::function<void()> idle_;
};

}  // namespace oncomesh::relay
