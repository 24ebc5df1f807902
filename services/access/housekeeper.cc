// SPDX-License-Identifier: Apache-2.0
#include "services/access/housekeeper.h"

#include "services/access/outage_log.h"

namespace oncomesh::access {
namespace {

// The relay of a site that starts comes up after this service, which tells nothing new.
constexpr int kStartingAttempts = 3;

}  // namespace

void Housekeeper::Start() {
  thread_ = std::thread([this] { RunUntilStopped(); });
}

void Housekeeper::Wake() {
  base::MutexLock lock(mutex_);
  woken_ = true;
  wake_.SignalAll();
}

void Housekeeper::Stop() {
  {
    base::MutexLock lock(mutex_);
    stopping_ = true;
    wake_.SignalAll();
  }
  if (thread_.joinable()) thread_.join();
}

void Housekeeper::RunUntilStopped() {
  OutageLog relay("relay.not_told", "relay.told");
  OutageLog certificates("certificates.renewal_failed", "certificates.renewal_recovered");
  int attempts = 0;
  while (true) {
    const absl::Status pushed = work_.push();
    const bool starting = ++attempts <= kStartingAttempts && absl::IsUnavailable(pushed);
    if (!starting) relay.Tell(pushed);
    certificates.Tell(work_.renew());
    const absl::Duration rest = pushed.ok() ? work_.look_again() : work_.retry;
    base::MutexLock lock(mutex_);
    if (!stopping_ && !woken_) wake_.WaitFor(mutex_, absl::ToChronoNanoseconds(rest));
    if (stopping_) return;
    woken_ = false;
  }
}

}  // namespace oncomesh::access
