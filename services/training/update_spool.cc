// SPDX-License-Identifier: Apache-2.0
#include "services/training/update_spool.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <system_error>
#include <utility>

#include "absl/strings/str_cat.h"
#include "libs/base/error.h"
#include "libs/base/files.h"
#include "libs/base/status_macros.h"
#include "services/training/file_hash.h"

namespace oncomesh::training {
namespace {

// Between two syncs at most this much of an upload is lost with the machine's power.
constexpr int64_t kSyncEvery = 32 << 20;

absl::Status OffsetInvalid() {
  return base::Error(absl::StatusCode::kOutOfRange, "OFFSET_INVALID",
                     "the upload does not begin where the hub's bytes end; ask GetUploadState");
}

// Makes the names in a folder durable.
absl::Status SyncFolder(const std::string& path) {
  int fd = open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) return base::ErrnoStatus(errno, "open the folder of updates");
  const int error = fsync(fd) == 0 ? 0 : errno;
  close(fd);
  // Some file systems cannot sync a folder; they say EINVAL.
  if (error != 0 && error != EINVAL) return base::ErrnoStatus(error, "sync the folder of updates");
  return absl::OkStatus();
}

int64_t SizeOf(const std::string& path) {
  struct stat info{};
  return stat(path.c_str(), &info) == 0 ? static_cast<int64_t>(info.st_size) : -1;
}

}  // namespace

absl::StatusOr<std::unique_ptr<UpdateSpool>> UpdateSpool::Open(const std::string& root) {
  RETURN_IF_ERROR(base::MakeDirectories(root, 0700));
  return std::unique_ptr<UpdateSpool>(new UpdateSpool(root));
}

absl::Status UpdateSpool::SyncRoot() {
  const uint64_t mine = ++folders_made_;
  base::MutexLock lock(sync_mutex_);
  if (folders_synced_ >= mine) return absl::OkStatus();  // by one that began after `mine` was made
  const uint64_t made = folders_made_;
  RETURN_IF_ERROR(SyncFolder(root_));
  folders_synced_ = made;
  return absl::OkStatus();
}

std::string UpdateSpool::PathOf(const std::string& task, const std::string& sha256) const {
  return absl::StrCat(root_, "/", task, "/", sha256, ".update");
}

absl::StatusOr<UpdateSpool::State> UpdateSpool::GetState(const std::string& task,
                                                         const std::string& sha256) {
  State state;
  const std::string final_path = PathOf(task, sha256);
  if (int64_t bytes = SizeOf(final_path); bytes >= 0) {
    state.offset = bytes;
    state.prefix_sha256 = sha256;
    state.complete = true;
    return state;
  }
  const std::string part = absl::StrCat(root_, "/", task, "/", sha256, ".part");
  int fd = open(part.c_str(), O_RDONLY | O_CLOEXEC);
  crypto::Sha256 hash;
  if (fd >= 0) {
    state.offset = std::max<int64_t>(0, SizeOf(part));  // gone meanwhile: none
    absl::Status status = HashPrefix(fd, state.offset, hash);
    close(fd);
    RETURN_IF_ERROR(status);
  }
  state.prefix_sha256 = hash.FinishHex();
  return state;
}

absl::StatusOr<std::unique_ptr<UpdateSpool::Upload>> UpdateSpool::Begin(const std::string& task,
                                                                        const std::string& sha256,
                                                                        int64_t bytes,
                                                                        int64_t offset) {
  auto upload = std::unique_ptr<Upload>(new Upload(*this, task));
  const std::string folder = absl::StrCat(root_, "/", task);
  RETURN_IF_ERROR(base::MakeDirectories(folder, 0700));
  bool known = false;
  {
    base::MutexLock lock(mutex_);
    known = generations_.count(task) != 0;
  }
  // An accepted update must be there after a power cut, and so must the folder that it lies in.
  if (!known) RETURN_IF_ERROR(SyncRoot());
  {
    base::MutexLock lock(mutex_);
    upload->generation_ = ++generations_[task];
  }
  upload->sha256_ = sha256;
  upload->bytes_ = bytes;
  upload->final_ = PathOf(task, sha256);
  upload->part_ = absl::StrCat(folder, "/", sha256, ".part");
  // A node has one update for a task: what is left of another one, whole or not, goes, so that ever
  // new ones cannot fill the disk.
  std::error_code ignored;
  for (const auto& entry : std::filesystem::directory_iterator(folder, ignored)) {
    if (entry.path() != upload->part_ && entry.path() != upload->final_) {
      std::filesystem::remove(entry.path(), ignored);
    }
  }
  if (SizeOf(upload->final_) == bytes) {
    // All of it came before; only the word that it was accepted got lost.
    if (offset != bytes && offset != 0) return OffsetInvalid();
    upload->complete_ = true;
    upload->offset_ = offset;
    return upload;
  }
  upload->fd_ = open(upload->part_.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  if (upload->fd_ < 0) return base::ErrnoStatus(errno, "create an update");
  const int64_t there = SizeOf(upload->part_);
  if (offset < 0 || offset > there || offset > bytes) return OffsetInvalid();
  if (ftruncate(upload->fd_, offset) != 0) return base::ErrnoStatus(errno, "shorten an update");
  RETURN_IF_ERROR(HashPrefix(upload->fd_, offset, upload->hash_));
  upload->offset_ = upload->synced_ = offset;
  return upload;
}

UpdateSpool::Upload::~Upload() {
  if (fd_ >= 0) close(fd_);
}

absl::Status UpdateSpool::Upload::CheckCurrent() const {
  base::MutexLock lock(spool_.mutex_);
  auto it = spool_.generations_.find(task_);
  if (it != spool_.generations_.end() && it->second == generation_) return absl::OkStatus();
  return base::Error(absl::StatusCode::kAborted, "UPLOAD_SUPERSEDED",
                     "a newer upload of this task has begun");
}

absl::Status UpdateSpool::Upload::Append(absl::string_view chunk) {
  if (static_cast<int64_t>(chunk.size()) > bytes_ - offset_) return OffsetInvalid();
  if (complete_) {
    offset_ += static_cast<int64_t>(chunk.size());
    return absl::OkStatus();
  }
  RETURN_IF_ERROR(CheckCurrent());
  hash_.Update(chunk);
  while (!chunk.empty()) {
    ssize_t put = pwrite(fd_, chunk.data(), chunk.size(), offset_);
    if (put < 0 && errno == EINTR) continue;
    if (put < 0) return base::ErrnoStatus(errno, "write an update");
    chunk.remove_prefix(static_cast<size_t>(put));
    offset_ += put;
  }
  if (offset_ - synced_ >= kSyncEvery) {
    if (fdatasync(fd_) != 0) return base::ErrnoStatus(errno, "write an update");
    synced_ = offset_;
  }
  return absl::OkStatus();
}

absl::StatusOr<std::string> UpdateSpool::Upload::Finish() {
  RETURN_IF_ERROR(CheckCurrent());
  if (complete_) return final_;
  if (offset_ != bytes_) {
    return base::Error(absl::StatusCode::kInvalidArgument, "UPLOAD_INVALID",
                       "the upload ended before all of its bytes had come; go on from its offset");
  }
  if (hash_.FinishHex() != sha256_) {
    unlink(part_.c_str());
    return base::Error(absl::StatusCode::kDataLoss, "UPDATE_HASH_MISMATCH",
                       "the bytes do not have the promised digest; send them again from the start");
  }
  if (fsync(fd_) != 0) return base::ErrnoStatus(errno, "write an update");
  if (rename(part_.c_str(), final_.c_str()) != 0) {
    return base::ErrnoStatus(errno, "rename an update");
  }
  RETURN_IF_ERROR(SyncFolder(final_.substr(0, final_.rfind('/'))));
  complete_ = true;
  return final_;
}

void UpdateSpool::Remove(const std::string& task, const std::string& sha256) {
  unlink(PathOf(task, sha256).c_str());
}

void UpdateSpool::RemoveTask(const std::string& task) {
  std::error_code ignored;
  std::filesystem::remove_all(absl::StrCat(root_, "/", task), ignored);
  base::MutexLock lock(mutex_);
  generations_.erase(task);
}

std::vector<std::string> UpdateSpool::Tasks() const {
  std::vector<std::string> out;
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator(root_, error)) {
    out.push_back(entry.path().filename().string());
  }
  return out;
}

}  // namespace oncomesh::training
