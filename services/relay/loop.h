// SPDX-License-Identifier: Apache-2.0
// The one thread on which a relay does everything, and the only ways into it.
#pragma once

#include <functional>
#include <memory>

#include "absl/time/time.h"

namespace oncomesh::relay {

class Loop {
 public:
  class Timer {
   public:
    virtual ~Timer() = default;  // not yet due: never runs
  };

  virtual ~Loop() = default;
  // Runs `task` on the loop's thread, after what is there already. Any thread. False when the loop
  // does not run: the task never will.
  virtual bool Post(std::function<void()> task) = 0;
  // Runs `task` once, `wait` from now. On the loop's thread only.
  virtual std::unique_ptr<Timer> After(absl::Duration wait, std::function<void()> task) = 0;
};

// Runs `task` on the loop and waits until it has run. Any thread but the loop's own.
// False when the loop does not run.
bool RunOn(Loop& loop, const std::function<void()>& task);

}  // namespace oncomesh::relay
