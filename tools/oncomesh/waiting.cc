// SPDX-License-Identifier: Apache-2.0
#include "tools/oncomesh/waiting.h"

#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <utility>

namespace oncomesh::cli {

Waiting::Waiting(const Session& session, std::string what)
    : what_(std::move(what)), terminal_(isatty(STDERR_FILENO) == 1) {
  if (!session.quiet()) teller_ = std::thread([this] { Tell(); });
}

Waiting::~Waiting() {
  {
    base::MutexLock lock(mutex_);
    over_ = true;
  }
  changed_.SignalAll();
  if (teller_.joinable()) teller_.join();
}

void Waiting::Tell() {
  using std::chrono::steady_clock;
  const auto started = steady_clock::now();
  const std::chrono::seconds period(terminal_ ? 1 : 5);
  auto next = started + period;
  bool drawn = false;
  base::MutexLock lock(mutex_);
  while (!over_) {
    const auto now = steady_clock::now();
    if (now < next) {
      changed_.WaitFor(mutex_, next - now);
      continue;
    }
    next += period;
    const long long seconds =
        std::chrono::duration_cast<std::chrono::seconds>(now - started).count();
    std::fprintf(stderr, terminal_ ? "\r%s, %lld s" : "%s, %lld s\n", what_.c_str(), seconds);
    drawn = true;
  }
  if (drawn && terminal_) std::fputs("\r\033[K", stderr);
}

}  // namespace oncomesh::cli
