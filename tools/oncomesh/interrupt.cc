// SPDX-License-Identifier: Apache-2.0
#include "tools/oncomesh/interrupt.h"

#include <atomic>

#include "libs/base/error.h"
#include "libs/base/unfinished_files.h"

namespace oncomesh::cli {
namespace {
std::atomic<bool> interrupted{false};
static_assert(std::atomic<bool>::is_always_lock_free, "a signal handler must not wait");
}  // namespace

void LeaveNoHalfFiles() {
  for (int signal : {SIGINT, SIGTERM, SIGHUP}) {
    struct sigaction old{};
    if (sigaction(signal, nullptr, &old) != 0 || old.sa_handler == SIG_IGN) continue;
    struct sigaction action{};
    action.sa_handler = [](int number) {
      base::RemoveUnfinishedFiles();
      raise(number);  // its own effect now, as the handler is in force once
    };
    action.sa_flags = static_cast<int>(SA_RESETHAND);
    sigaction(signal, &action, nullptr);
  }
}

InterruptGuard::InterruptGuard() {
  interrupted = false;
  struct sigaction action{};
  action.sa_handler = [](int) { interrupted = true; };
  action.sa_flags = static_cast<int>(SA_RESETHAND);
  sigaction(SIGINT, &action, &old_int_);
  sigaction(SIGTERM, &action, &old_term_);
}

InterruptGuard::~InterruptGuard() {
  sigaction(SIGINT, &old_int_, nullptr);
  sigaction(SIGTERM, &old_term_, nullptr);
}

bool InterruptGuard::Interrupted() { return interrupted; }

absl::Status InterruptGuard::Check() {
  if (!interrupted) return absl::OkStatus();
  return base::Error(absl::StatusCode::kCancelled, "INTERRUPTED",
                     "stopped as told; what is there is complete");
}

}  // namespace oncomesh::cli
