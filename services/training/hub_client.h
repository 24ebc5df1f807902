// SPDX-License-Identifier: Apache-2.0
// The hub as a node's worker sees it. Behind it: TaskService through the site's relay, or in tests
// the hub's desks themselves.
#pragma once

#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "oncomesh/training/v1/task.pb.h"

namespace oncomesh::training {

// Errors are those of TaskService, UNAVAILABLE when the hub cannot be reached. One thread at a
// time, and Renew from another beside it.
class HubClient {
 public:
  virtual ~HubClient() = default;
  virtual absl::StatusOr<v1::AcquireTaskResponse> Acquire(
      const v1::AcquireTaskRequest& request) = 0;
  // Ends a wait for a task, a renewal or a transfer, and every later one, with CANCELLED: a service
  // that stops sits out none. A task that was on its way is handed out again, a transfer goes on
  // where it was. Any thread.
  virtual void StopWaiting() {}
  // Keeps the lease.
  virtual absl::Status Renew(const v1::RenewLeaseRequest& request) = 0;
  // Fetches an input into `path`, going on where an interrupted fetch ended, and never more than
  // its announced bytes; the file has the digest when it returns OK.
  // Errors also: UNAVAILABLE (INPUT_HASH_MISMATCH): it is fetched again.
  virtual absl::Status Download(const std::string& task, const v1::TaskInput& input,
                                const std::string& path) = 0;
  // Hands in the update at `path`, going on where the hub's bytes end.
  virtual absl::Status Upload(const v1::UploadHeader& header, const std::string& path) = 0;
  virtual absl::Status SubmitMetrics(const v1::SubmitMetricsRequest& request) = 0;
  virtual absl::Status ReportFailed(const v1::ReportTaskFailedRequest& request) = 0;
};

}  // namespace oncomesh::training
