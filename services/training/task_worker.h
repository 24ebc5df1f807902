// SPDX-License-Identifier: Apache-2.0
// A node's work on tasks: fetch one, check whether it may be done, do it in a confined process,
// keep the result until the hub has acknowledged it. Everything that matters lies in the state
// folder before the next step begins, so the service can be killed at any moment:
//
//   tasks/<task>/task.json   what the trainer is told     tasks/<task>/out/   where it writes
//   tasks/<task>/trainer/    the copy that is run
//   tasks/<task>/update.safetensors, result.pb            a finished result, waiting to be taken
//   inputs/<sha256>          models and statistics        cache/<run>/        the trainer's own
//   cases/<digest>/          prepared cases (site_case_provider)
#pragma once

#include <functional>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "libs/base/clock.h"
#include "oncomesh/access/v1/policy.pb.h"
#include "oncomesh/training/v1/node.pb.h"
#include "services/training/case_provider.h"
#include "services/training/change_signal.h"
#include "services/training/hub_client.h"
#include "services/training/runner.h"
#include "services/training/task_history.h"
#include "services/training/trainer_shelf.h"
#include "services/training/trust.h"

namespace oncomesh::training {

class TaskLease;

// The node's policy as it is now. Errors: UNAVAILABLE.
using PolicySource = std::function<absl::StatusOr<access::v1::NodePolicy>()>;
// Tells the site's audit log of a use of data: done, refused or failed, with the reason. The task's
// fields are names and counts. Errors: UNAVAILABLE: then the use does not happen.
using UseRecorder = std::function<absl::Status(const v1::Task& task, const std::string& outcome,
                                               const std::string& reason)>;

class TaskWorker {
 public:
  struct Deps {
    std::string node;
    std::string session;  // new at each start
    std::string state_dir;
    std::string version;
    HubClient& hub;
    TrustSource trust;
    PolicySource policy;
    UseRecorder record;
    TrainerShelf& trainers;
    CaseProvider& cases;
    Runner& runner;
    TaskHistory& history;
    base::Clock& clock;
    ChangeSignal& stop;  // stopped: give up what is going on, keep what is finished
    absl::Duration wait = absl::Seconds(20);    // for a task, at the hub
    absl::Duration backoff = absl::Seconds(1);  // first pause when the hub is away; doubles to 30 s
    absl::Duration time_limit = absl::Hours(12);  // of one trainer
    uint64_t cache_bytes = uint64_t{16} << 30;    // of the caches of other runs, together
  };
  explicit TaskWorker(Deps deps) : deps_(std::move(deps)) {}

  // Asks for one task and brings it to an end. True when there was one. An error is that of
  // reaching the hub or of the node's own disk; what went wrong with the task was told to the hub.
  absl::StatusOr<bool> RunOnce();

  // RunOnce until stopped, with pauses while the hub is away. Between tasks, once an hour,
  // RemoveOldLeftovers.
  void RunUntilStopped();

  // Removes caches, prepared cases and folders of tasks that were not used for a week. Not while
  // RunOnce runs.
  void RemoveOldLeftovers();

 private:
  absl::Status Do(const v1::Task& task);
  absl::Status CheckAllowed(const v1::Task& task);
  absl::Status MakeResult(const v1::Task& task, TaskLease& lease, v1::NodeTask& entry);
  absl::Status Deliver(const v1::Task& task, v1::NodeTask& entry);
  absl::Status TakeResult(const v1::Task& task, const std::string& folder);
  void GiveUp(const v1::Task& task, const absl::Status& why, v1::NodeTask& entry);
  std::string FolderOf(const v1::Task& task) const;
  std::string InputPath(const std::string& sha256) const;
  void Note(v1::NodeTask& entry, v1::NodeTask::State state, const std::string& reason = "");
  // Removes the caches of other runs, the oldest first, until they keep to cache_bytes.
  void TrimCaches(const std::string& run);
  // Ends the entries of tasks that an earlier start of the service left unfinished.
  void CloseInterrupted();

  Deps deps_;
  bool interrupted_closed_ = false;
  absl::Duration pause_ = absl::ZeroDuration();  // before the hub is asked again
  absl::Time cleaned_ = absl::InfinitePast();
};

// Whether the node's policy lets the task run. Errors: PERMISSION_DENIED (POLICY_PURPOSE,
// POLICY_TRAINER, POLICY_MAX_ROUNDS).
absl::Status CheckPolicy(const access::v1::NodePolicy& policy, const std::string& purpose,
                         const v1::Plan& plan);

}  // namespace oncomesh::training
