// SPDX-License-Identifier: Apache-2.0
#include "services/training/task_history.h"

#include <utility>

#include "libs/base/error.h"
#include "libs/base/files.h"
#include "libs/base/status_macros.h"

namespace oncomesh::training {
namespace {
constexpr int kMost = 1000;
}  // namespace

absl::StatusOr<std::unique_ptr<TaskHistory>> TaskHistory::Open(const std::string& path) {
  auto history = std::unique_ptr<TaskHistory>(new TaskHistory(path));
  absl::StatusOr<std::string> bytes = base::ReadFile(path, 64 << 20);
  if (bytes.status().code() == absl::StatusCode::kNotFound) return history;
  RETURN_IF_ERROR(bytes.status());
  base::MutexLock lock(history->mutex_);
  if (!history->tasks_.ParseFromString(*bytes)) {
    return base::Error(absl::StatusCode::kDataLoss, "HISTORY_DAMAGED",
                       "the record of past tasks cannot be read; move it away to start anew");
  }
  return history;
}

absl::Status TaskHistory::Put(const v1::NodeTask& task) {
  base::MutexLock lock(mutex_);
  bool known = false;
  // What changes is nearly always the newest.
  for (int i = tasks_.tasks_size() - 1; i >= 0 && !known; --i) {
    if (tasks_.tasks(i).name() != task.name()) continue;
    *tasks_.mutable_tasks(i) = task;
    known = true;
  }
  if (!known) *tasks_.add_tasks() = task;
  if (tasks_.tasks_size() > kMost) {
    tasks_.mutable_tasks()->DeleteSubrange(0, tasks_.tasks_size() - kMost);
  }
  return base::WriteFileAtomically(path_, tasks_.SerializeAsString(), 0600);
}

std::vector<v1::NodeTask> TaskHistory::List() {
  base::MutexLock lock(mutex_);
  return {tasks_.tasks().rbegin(), tasks_.tasks().rend()};
}

}  // namespace oncomesh::training
