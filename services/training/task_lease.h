// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <thread>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "libs/base/clock.h"
#include "libs/base/mutex.h"
#include "oncomesh/training/v1/task.pb.h"
#include "services/training/change_signal.h"
#include "services/training/hub_client.h"
#include "services/training/trust.h"

namespace oncomesh::training {

// Keeps the lease of a task while this lives, and says when its work has to stop: the hub no longer
// wants it, the permit was revoked or has expired, or the service stops. A thread of its own asks
// the hub (at a third of the lease) and the site (every second): either can take long to answer,
// and who asks GoOn watches a trainer meanwhile.
class TaskLease {
 public:
  struct Deps {
    HubClient& hub;  // its Renew is called here and nowhere else
    const TrustSource& trust;
    base::Clock& clock;
    ChangeSignal& stop;
  };
  TaskLease(Deps deps, const v1::Task& task);
  // Waits for an answer that is on its way.
  ~TaskLease();
  TaskLease(const TaskLease&) = delete;
  TaskLease& operator=(const TaskLease&) = delete;

  // False when the work has to stop. Does not wait. Any thread.
  bool GoOn() { return !deps_.stop.stopped() && lost().ok(); }
  // Why, when it is not the service that stops: the hub's error (ROUND_CLOSED, TASK_NOT_FOUND,
  // LEASE_LOST) or the permit's (PERMIT_REVOKED, PERMIT_EXPIRED). Any thread.
  absl::Status lost() {
    base::MutexLock lock(mutex_);
    return lost_;
  }

 private:
  void Keep();
  absl::Status Judge();
  absl::Status Renew();

  const Deps deps_;
  const std::string permit_jws_;
  v1::RenewLeaseRequest request_;
  absl::Duration interval_;
  absl::Time renew_, judge_;  // when next; of the thread
  base::Mutex mutex_;
  base::CondVar changed_;
  bool ended_ ABSL_GUARDED_BY(mutex_) = false;
  absl::Status lost_ ABSL_GUARDED_BY(mutex_);
  std::thread thread_;
};

// The hub no longer wants a result of this task, whatever it is.
bool IsWithdrawn(const absl::Status& status);

}  // namespace oncomesh::training
