// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "libs/base/mutex.h"
#include "oncomesh/training/v1/node.pb.h"

namespace oncomesh::training {

// What a node worked on, for its data holder: the newest 1,000 tasks, in a file. Any thread.
class TaskHistory {
 public:
  // Errors: DATA_LOSS (HISTORY_DAMAGED).
  static absl::StatusOr<std::unique_ptr<TaskHistory>> Open(const std::string& path);
  // Adds the task, or replaces what was known of it. Durable when it returns OK.
  absl::Status Put(const v1::NodeTask& task);
  // Newest first.
  std::vector<v1::NodeTask> List();

 private:
  explicit TaskHistory(std::string path) : path_(std::move(path)) {}
  const std::string path_;
  base::Mutex mutex_;
  v1::ListTasksResponse tasks_ ABSL_GUARDED_BY(mutex_);  // oldest first
};

}  // namespace oncomesh::training
