// SPDX-License-Identifier: Apache-2.0
// Files that are either there whole or not at all.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace oncomesh::base {

// The whole content. Errors: NOT_FOUND (FILE_NOT_FOUND), RESOURCE_EXHAUSTED (FILE_TOO_LARGE) past
// `limit` bytes, PERMISSION_DENIED, UNAVAILABLE for what the disk says.
absl::StatusOr<std::string> ReadFile(const std::string& path, uint64_t limit = 1ull << 30);

// Writes `content` under a temporary name in the same folder, makes it durable and renames it: a
// reader sees the old file or the new one, after a crash too. `mode` as for chmod.
// Errors: ALREADY_EXISTS (FILE_EXISTS) when `overwrite` is false and the name is taken;
// RESOURCE_EXHAUSTED (DISK_FULL).
absl::Status WriteFileAtomically(const std::string& path, absl::string_view content,
                                 unsigned mode = 0644, bool overwrite = true);

// The same in parts; nothing is left behind when it is destroyed before Commit.
class AtomicFile {
 public:
  static absl::StatusOr<AtomicFile> Create(const std::string& path, unsigned mode = 0644);
  AtomicFile(AtomicFile&& other) noexcept;
  AtomicFile& operator=(AtomicFile&&) = delete;
  ~AtomicFile();

  absl::Status Append(absl::string_view bytes);
  // The open descriptor, for code that writes by itself (sendfile, pwritev).
  int fd() const { return fd_; }
  const std::string& temporary_path() const { return temporary_; }
  // Durable and under its name when this returns OK. `sync` false leaves durability to the caller
  // (one sync for a batch).
  absl::Status Commit(bool overwrite = true, bool sync = true);

 private:
  AtomicFile(std::string path, std::string temporary, int fd)
      : path_(std::move(path)), temporary_(std::move(temporary)), fd_(fd) {}
  std::string path_;
  std::string temporary_;
  int fd_;
};

// Makes `path` and its missing parents. OK when it is there already.
absl::Status MakeDirectories(const std::string& path, unsigned mode = 0755);

// Regular files below `root`, in byte order of their paths; symbolic links are not followed.
// A path to a regular file gives itself.
absl::StatusOr<std::vector<std::string>> ListFiles(const std::string& root);

// The error of the last failed system call, as a Status. `what` names the operation, not the path
// of a patient's file.
absl::Status ErrnoStatus(int error, absl::string_view what);

}  // namespace oncomesh::base
