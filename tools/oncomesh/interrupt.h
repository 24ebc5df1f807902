// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <csignal>

#include "absl/status/status.h"

namespace oncomesh::cli {

// For main, before any thread: SIGINT, SIGTERM and SIGHUP remove unfinished files and end the
// program as they would have. A signal that the caller ignores (nohup) stays ignored.
void LeaveNoHalfFiles();

// While it lives, the first SIGINT or SIGTERM only makes Interrupted() true, so that the work can
// stop in order and leave no half file; the second one ends the program. One at a time.
class InterruptGuard {
 public:
  InterruptGuard();
  ~InterruptGuard();
  InterruptGuard(const InterruptGuard&) = delete;
  InterruptGuard& operator=(const InterruptGuard&) = delete;

  // Any thread.
  static bool Interrupted();
  // CANCELLED (INTERRUPTED) when it is.
  static absl::Status Check();

 private:
  struct sigaction old_int_{};
  struct sigaction old_term_{};
};

}  // namespace oncomesh::cli
