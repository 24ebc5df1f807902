// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

#include "absl/time/time.h"
#include "libs/base/mutex.h"

namespace oncomesh::training {

// "Something changed": wakes who waits for a task, watches a run, or closes rounds. Waiting is only
// a shortcut; everyone looks at the store for what is true. Any thread.
class ChangeSignal {
 public:
  uint64_t version() {
    base::MutexLock lock(mutex_);
    return version_;
  }
  void Notify() {
    base::MutexLock lock(mutex_);
    ++version_;
    changed_.SignalAll();
  }
  // Returns when the version is no longer `seen`, after `timeout`, or once stopped.
  void Wait(uint64_t seen, absl::Duration timeout) {
    base::MutexLock lock(mutex_);
    const auto end = std::chrono::steady_clock::now() + absl::ToChronoNanoseconds(timeout);
    while (version_ == seen && !stopped_) {
      const auto now = std::chrono::steady_clock::now();
      if (now >= end) return;
      changed_.WaitFor(mutex_, end - now);
    }
  }
  // From now on nobody waits.
  void Stop() {
    base::MutexLock lock(mutex_);
    stopped_ = true;
    changed_.SignalAll();
  }
  bool stopped() {
    base::MutexLock lock(mutex_);
    return stopped_;
  }

 private:
  base::Mutex mutex_;
  base::CondVar changed_;
  uint64_t version_ ABSL_GUARDED_BY(mutex_) = 1;
  bool stopped_ ABSL_GUARDED_BY(mutex_) = false;
};

}  // namespace oncomesh::training
