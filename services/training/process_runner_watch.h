// SPDX-License-Identifier: Apache-2.0
// What a process and all that came from it use together, of memory and of the disk.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

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
  // Of the tree, as seen last.
  const std::vector<int>& processes() const { return tree_; }

 private:
  const uint64_t memory_limit_;
  const int64_t task_limit_;
  int root_ = 0;
  absl::Time looked_ = absl::InfinitePast();
  std::string exceeded_;
  uint64_t peak_ = 0;
  std::vector<int> tree_;
};

// Bytes of the disk that the folders hold with all that is in them, and 4 KiB for each name, so
// that ever more empty files count too; the walk ends once it is past `enough`. A folder that
// cannot be read, or lies more than 64 folders deep, counts as `enough`: nothing is hidden in it.
// Links are not followed.
uint64_t DiskUse(const std::vector<std::string>& folders, uint64_t enough);

// What a trainer keeps in the folders it can write. One thread.
class DiskWatch {
 public:
  DiskWatch(std::vector<std::string> folders, uint64_t limit)
      : folders_(std::move(folders)), limit_(limit) {}

  // Looks every two seconds, and less often when looking takes long; false once the limit was
  // exceeded. Files that one of the processes still has open count also when their names are gone;
  // one that is only mapped then is not seen.
  bool WithinLimit(const std::vector<int>& processes);
  // The same, now.
  bool Look(const std::vector<int>& processes);
  bool exceeded() const { return exceeded_; }

 private:
  const std::vector<std::string> folders_;
  const uint64_t limit_;
  absl::Time next_ = absl::InfinitePast();
  bool exceeded_ = false;
};

}  // namespace oncomesh::training
