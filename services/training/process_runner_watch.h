// SPDX-License-Identifier: Apache-2.0
// What a process and all that came from it use together.
#pragma once

#include <cstdint>
#include <string>

#include "absl/time/time.h"

namespace oncomesh::training {

// Read from /proc, for machines whose control groups this service may not make. One thread.
class ProcessTree {
 public:
  ProcessTree(uint64_t memory_bytes, int tasks) : memory_limit_(memory_bytes), task_limit_(tasks) {}

  // The root of the tree. Before it, all is within the limits.
  void Start(int pid) { root_ = pid; }

  // Looks at most five times a second; false once a limit was exceeded. Memory is resident memory;
  // when that is over the limit, the proportional share of what processes have in common (PSS)
  // decides.
  bool WithinLimits();

  // TRAINER_OUT_OF_MEMORY or TRAINER_PROCESSES; empty while within the limits.
  const std::string& exceeded() const { return exceeded_; }
  uint64_t peak_memory_bytes() const { return peak_; }

 private:
  const uint64_t memory_limit_;
  const int64_t task_limit_;
  int root_ = 0;
  absl::Time looked_ = absl::InfinitePast();
  std::string exceeded_;
  uint64_t peak_ = 0;
};

}  // namespace oncomesh::training
