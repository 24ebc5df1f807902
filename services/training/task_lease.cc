// SPDX-License-Identifier: Apache-2.0
#include "services/training/task_lease.h"

#include <algorithm>
#include <chrono>
#include <utility>

#include "libs/base/error.h"
#include "libs/permit/permit.h"

namespace oncomesh::training {
namespace {

constexpr absl::Duration kJudgeEvery = absl::Seconds(1);
// After a renewal that failed.
constexpr absl::Duration kRenewAgain = absl::Seconds(5);

}  // namespace

bool IsWithdrawn(const absl::Status& status) {
  const std::string reason = base::ReasonOf(status);
  return reason == "ROUND_CLOSED" || reason == "TASK_NOT_FOUND";
}

TaskLease::TaskLease(Deps deps, const v1::Task& task)
    : deps_(std::move(deps)), permit_jws_(task.permit_jws()) {
  request_.set_task(task.name());
  request_.set_lease_token(task.lease_token());
  interval_ = absl::Seconds(std::max<int64_t>(1, task.lease().seconds())) / 3;
  renew_ = deps_.clock.Now() + interval_;
  judge_ = deps_.clock.Now() + kJudgeEvery;
  thread_ = std::thread([this] { Keep(); });
}

TaskLease::~TaskLease() {
  {
    base::MutexLock lock(mutex_);
    ended_ = true;
    changed_.SignalAll();
  }
  thread_.join();
}

void TaskLease::Keep() {
  while (true) {
    absl::Status lost;
    if (deps_.clock.Now() >= judge_) lost = Judge();
    if (lost.ok() && deps_.clock.Now() >= renew_) lost = Renew();
    base::MutexLock lock(mutex_);
    lost_ = lost;
    if (ended_ || !lost_.ok()) return;
    changed_.WaitFor(mutex_, std::chrono::milliseconds(50));
    if (ended_) return;
  }
}

// Not OK when the permit will not be in force again. What the site cannot tell now ends nothing: no
// result leaves before it can.
absl::Status TaskLease::Judge() {
  absl::StatusOr<permit::TrustState> trust = deps_.trust();
  judge_ = deps_.clock.Now() + kJudgeEvery;
  if (!trust.ok()) return absl::OkStatus();
  absl::Status permitted = permit::CheckInForce(permit_jws_, *trust, deps_.clock.Now()).status();
  return IsOver(permitted) ? permitted : absl::OkStatus();
}

// Not OK when the hub no longer wants the work, or another does it. A hub that is away does not end
// it: the task is still this node's when it is back.
absl::Status TaskLease::Renew() {
  absl::Status status = deps_.hub.Renew(request_);
  renew_ = deps_.clock.Now() + (status.ok() ? interval_ : std::min(interval_, kRenewAgain));
  const bool lost = IsWithdrawn(status) || base::ReasonOf(status) == "LEASE_LOST";
  return lost ? status : absl::OkStatus();
}

}  // namespace oncomesh::training
