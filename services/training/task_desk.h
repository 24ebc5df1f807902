// SPDX-License-Identifier: Apache-2.0
// Tasks for the nodes that do them. `node` is always the calling node as its certificate says.
#pragma once

#include <array>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "libs/base/clock.h"
#include "libs/base/mutex.h"
#include "libs/base/random.h"
#include "libs/objects/object_store.h"
#include "oncomesh/training/v1/task.pb.h"
#include "services/training/change_signal.h"
#include "services/training/run_desk.h"
#include "services/training/training_store.h"
#include "services/training/update_spool.h"

namespace oncomesh::training {

// Any thread.
class TaskDesk {
 public:
  struct Deps {
    TrainingStore& store;
    UpdateSpool& spool;
    objects::ObjectStore& objects;
    base::Clock& clock;
    base::Random& random;
    TrustSource trust;
    ChangeSignal& changes;
    LeaseRules rules;
  };
  explicit TaskDesk(Deps deps) : deps_(std::move(deps)) {}

  // The errors are those that task.proto gives for the RPC of the same name.

  // Does not wait. Before a task is handed out, its permit is checked anew; a run whose permit was
  // revoked or has expired ends. A run that cannot be read is logged and passed over.
  absl::StatusOr<v1::AcquireTaskResponse> Acquire(const std::string& node,
                                                  const v1::AcquireTaskRequest& request);
  // Ends the run when its permit is over; while all nodes work this is where that is noticed.
  absl::StatusOr<absl::Duration> Renew(const std::string& node,
                                       const v1::RenewLeaseRequest& request);
  // The file of a task's model or statistics.
  absl::StatusOr<std::string> InputPath(const std::string& node, const std::string& task,
                                        const std::string& sha256);
  absl::StatusOr<v1::GetUploadStateResponse> UploadState(const std::string& node,
                                                         const v1::GetUploadStateRequest& request);
  absl::StatusOr<bool> SubmitMetrics(const std::string& node,
                                     const v1::SubmitMetricsRequest& request);
  absl::Status ReportFailed(const std::string& node, const v1::ReportTaskFailedRequest& request);

  // One update being handed in. One thread; the desk outlives it.
  class Submission {
   public:
    absl::Status Append(absl::string_view chunk);
    // Verifies and commits; true when this very update had been accepted before.
    absl::StatusOr<bool> Finish();

   private:
    friend class TaskDesk;
    // Whether the file fits the round and can be added to its sum.
    absl::Status CheckUpdate(const RunRecord& record, const std::string& path);
    // Throws away what can never be accepted, unless a newer upload goes on with it.
    void Discard();
    explicit Submission(TaskDesk& desk) : desk_(desk) {}
    TaskDesk& desk_;
    std::string node_, run_;
    v1::UploadHeader header_;
    Result result_;
    bool already_ = false;
    std::unique_ptr<UpdateSpool::Upload> upload_;  // null when accepted before
  };
  absl::StatusOr<std::unique_ptr<Submission>> Begin(const std::string& node,
                                                    const v1::UploadHeader& header);

 private:
  absl::Status StillPermitted(const RunRecord& record);
  absl::StatusOr<v1::AcquireTaskResponse> AcquireOf(const std::string& run, const std::string& node,
                                                    const std::string& session);
  // Held while an upload of the task begins, gets its final name, is accepted or thrown away: the
  // file that a record names is never one that another upload removes or writes.
  base::Mutex& LockOf(const std::string& task);
  // What became of the node's task in a round that takes no more. `closed` is what is said of a
  // task that is not this node's.
  absl::StatusOr<TaskRecord> ReadPast(const std::string& node, const std::string& task,
                                      const absl::Status& closed);
  // Whether this very result was accepted, by now perhaps in a round that has closed: the answer
  // may have been lost on its way. Errors: as FindTask, of a task without a result that was
  // accepted; ALREADY_EXISTS (UPDATE_CONFLICT).
  absl::StatusOr<bool> Already(RunRecord& record, const std::string& node, const std::string& task,
                               const Result& result);
  // Ends the run when its permit will not be in force again: nothing is handed out, and no result
  // is taken, under it.
  absl::Status EndIfOver(const std::string& run, const absl::Status& permitted);
  Deps deps_;
  std::array<base::Mutex, 64> locks_;
};

}  // namespace oncomesh::training
