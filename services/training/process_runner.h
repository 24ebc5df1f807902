// SPDX-License-Identifier: Apache-2.0
// Trainers as processes that bubblewrap confines: no network, own process, user, mount, IPC and
// host namespaces, no capability, read-only programs and inputs, one writable output and one cache
// folder, a filter of system calls, memory, process, time, file-size and disk limits. When the
// namespaces cannot be made, nothing runs.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "libs/base/mutex.h"
#include "services/training/runner.h"

namespace oncomesh::training {

// Any thread.
class ProcessRunner final : public Runner {
 public:
  struct Options {
    std::string bubblewrap = "bwrap";
    // Address space of each process, and memory of all of them together. The sum is looked at five
    // times a second (ProcessTree), so a trainer can be over it for that long; what it keeps in
    // /tmp and /dev/shm comes on top, at most temporary_bytes each.
    uint64_t memory_bytes = uint64_t{8} << 30;
    int tasks = 1024;                              // processes and threads together
    uint64_t file_bytes = uint64_t{4} << 30;       // largest file it can write
    uint64_t temporary_bytes = uint64_t{1} << 30;  // of /tmp, in memory
    // Of /out and /cache together. Counted every two seconds, so a trainer can be over it by what
    // it writes in that time.
    uint64_t disk_bytes = uint64_t{16} << 30;
    absl::Duration cpu_time = absl::Hours(24);  // of each process
    // Further folders it may read, at their own path (a Python environment).
    std::vector<std::string> readable;
    // Put before PATH's system folders: `<folder>/bin` of the environment.
    std::vector<std::string> path;
  };
  explicit ProcessRunner(Options options) : options_(std::move(options)) {}

  absl::Status Check() override;
  absl::StatusOr<TrainerEnd> Run(const TrainerJob& job, absl::FunctionRef<bool()> go_on) override;

 private:
  // The sandbox without job and command.
  std::vector<std::string> Sandbox(bool with_proc) const;
  absl::Status Probe(bool with_proc) const;

  const Options options_;
  base::Mutex mutex_;
  bool checked_ ABSL_GUARDED_BY(mutex_) = false;
  bool with_proc_ ABSL_GUARDED_BY(mutex_) = true;
};

}  // namespace oncomesh::training
