// SPDX-License-Identifier: Apache-2.0
// Updates on their way in: one folder per task, one file in it, written in chunks that survive an
// interruption. It gets its final name only when all bytes are there, durable and of the promised
// digest.
#pragma once

#include <atomic>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "libs/base/mutex.h"
#include "libs/crypto/digest.h"

namespace oncomesh::training {

class UpdateSpool {
 public:
  // `root` is made when missing.
  static absl::StatusOr<std::unique_ptr<UpdateSpool>> Open(const std::string& root);

  struct State {
    int64_t offset = 0;         // bytes that are there
    std::string prefix_sha256;  // of them; hex
    bool complete = false;
  };
  // `sha256` is 64 hexadecimal digits, checked by the caller; `task` a name of ours. Any thread.
  absl::StatusOr<State> GetState(const std::string& task, const std::string& sha256);

  // One upload in progress. One thread.
  class Upload {
   public:
    ~Upload();
    // Errors: OUT_OF_RANGE (OFFSET_INVALID) beyond the promised size; ABORTED (UPLOAD_SUPERSEDED)
    // when a newer upload of the same task has begun; RESOURCE_EXHAUSTED (DISK_FULL).
    absl::Status Append(absl::string_view chunk);
    // OK while no newer upload of the task has begun. Errors: ABORTED (UPLOAD_SUPERSEDED).
    absl::Status CheckCurrent() const;
    // Makes the update durable under its final name and returns its path. Errors: as Append;
    // INVALID_ARGUMENT (UPLOAD_INVALID) when bytes are missing; DATA_LOSS (UPDATE_HASH_MISMATCH):
    // then everything of it is forgotten and the sender begins at 0.
    absl::StatusOr<std::string> Finish();

   private:
    friend class UpdateSpool;
    Upload(UpdateSpool& spool, std::string task) : spool_(spool), task_(std::move(task)) {}
    UpdateSpool& spool_;
    const std::string task_;
    uint64_t generation_ = 0;
    std::string part_, final_, sha256_;
    int fd_ = -1;
    int64_t offset_ = 0, bytes_ = 0, synced_ = 0;
    crypto::Sha256 hash_;
    bool complete_ = false;
  };
  // Goes on at `offset`, which is 0 or what GetState told. An upload of the same task that is still
  // going is superseded, and whatever the task has of other contents is removed: a task cannot fill
  // the disk with more than one update. Not while a Begin or Finish of the same task runs, nor
  // after its update was accepted. Errors: OUT_OF_RANGE (OFFSET_INVALID).
  absl::StatusOr<std::unique_ptr<Upload>> Begin(const std::string& task, const std::string& sha256,
                                                int64_t bytes, int64_t offset);

  // Where the complete update lies, or would.
  std::string PathOf(const std::string& task, const std::string& sha256) const;
  // Forgets one update, or all of a task. Nothing happens when it is not there.
  void Remove(const std::string& task, const std::string& sha256);
  void RemoveTask(const std::string& task);
  // Names of the tasks that have anything here.
  std::vector<std::string> Tasks() const;

 private:
  explicit UpdateSpool(std::string root) : root_(std::move(root)) {}
  // Makes the names of the tasks' folders durable. Those who come while it is done for others are
  // served together.
  absl::Status SyncRoot();
  const std::string root_;
  std::atomic<uint64_t> folders_made_{0};
  base::Mutex sync_mutex_;
  uint64_t folders_synced_ ABSL_GUARDED_BY(sync_mutex_) = 0;
  base::Mutex mutex_;
  std::map<std::string, uint64_t> generations_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace oncomesh::training
