// SPDX-License-Identifier: Apache-2.0
// What the hub's access service does by itself, again and again: it tells the relay who is kept
// out, and renews the certificates of the hub's services.
#pragma once

#include <functional>
#include <thread>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "libs/base/mutex.h"

namespace oncomesh::access {

// Runs in a thread of its own between Start and Stop. Failures go to the log when they begin and
// when their reason changes: `relay.not_told`, `certificates.renewal_failed`. A relay that is not
// there yet when the site starts is given three attempts.
class Housekeeper {
 public:
  struct Work {
    std::function<absl::Status()> push;  // tells the relay
    std::function<absl::Status()> renew;
    std::function<absl::Duration()> look_again;  // how long everything may rest when all is well
    absl::Duration retry = absl::Seconds(1);     // after a push that failed
  };
  explicit Housekeeper(Work work) : work_(std::move(work)) {}
  ~Housekeeper() { Stop(); }

  void Start();
  // Everything once more at once: the relay missed a change. Any thread; also before Start and
  // while a round is on its way, which is then followed by another.
  void Wake();
  void Stop();

 private:
  void RunUntilStopped();

  const Work work_;
  base::Mutex mutex_;
  base::CondVar wake_;
  bool woken_ ABSL_GUARDED_BY(mutex_) = false;
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
  std::thread thread_;
};

}  // namespace oncomesh::access
