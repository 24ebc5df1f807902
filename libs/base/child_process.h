// SPDX-License-Identifier: Apache-2.0
// Another program as a child: its output through pipes, limits set before it starts, an end in any
// case. The child leads a process group of its own, so that what it starts ends with it.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"

namespace oncomesh::base {

// 0: no limit beyond that of this process.
struct ChildLimits {
  uint64_t memory_bytes = 0;  // address space of each process (RLIMIT_AS)
  absl::Duration cpu_time;    // of each process, whole seconds (RLIMIT_CPU)
  uint64_t file_bytes = 0;    // the largest file it can write (RLIMIT_FSIZE)
  uint64_t open_files = 0;    // RLIMIT_NOFILE
  // Of the user, this program's others too; none for root (RLIMIT_NPROC).
  uint64_t processes = 0;
};

struct ChildCommand {
  std::vector<std::string> argv;         // argv[0] is a path, or found in PATH of this process
  std::vector<std::string> environment;  // "KEY=value", complete: nothing is inherited
  std::string directory;                 // to start in; empty: this process's
  ChildLimits limits;
  // Open in the child too, under the same numbers (3 or more); they stay the caller's.
  std::vector<int> descriptors;
  // Called in the calling thread once the program runs, with its process id.
  std::function<void(int pid)> started;
  // After this long the group gets SIGTERM, and SIGKILL `grace` later.
  absl::Duration deadline = absl::InfiniteDuration();
  absl::Duration grace = absl::Seconds(5);
  // Kept of stdout and of stderr; what comes after it is read and dropped.
  size_t output_limit = 64 << 10;
};

struct ChildResult {
  enum class End { kExited, kSignalled, kDeadline, kStopped };
  End end = End::kExited;
  int exit_status = 0;             // of kExited
  int signal = 0;                  // that ended it, otherwise
  std::string output;              // stdout
  std::string errors;              // stderr
  uint64_t peak_memory_bytes = 0;  // resident, the largest process
  absl::Duration cpu_time;         // user and system, all processes that were waited for
};

// Runs the command to its end. `go_on` is asked about five times a second; when it returns false,
// the child is stopped as at the deadline. stdin is empty. When this process dies, even by SIGKILL,
// or the calling thread ends, the child is killed with it.
// Errors: NOT_FOUND (PROGRAM_NOT_FOUND), PERMISSION_DENIED (PROGRAM_NOT_ALLOWED), UNAVAILABLE
// (PROGRAM_NOT_STARTED) with the system's reason. A child that fails is not an error of this call.
absl::StatusOr<ChildResult> RunChild(const ChildCommand& command, absl::FunctionRef<bool()> go_on);
absl::StatusOr<ChildResult> RunChild(const ChildCommand& command);

}  // namespace oncomesh::base
