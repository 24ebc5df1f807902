// SPDX-License-Identifier: Apache-2.0
#include "libs/base/files.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <climits>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <system_error>
#include <utility>

#include "absl/strings/str_cat.h"
#include "libs/base/error.h"
#include "libs/base/mutex.h"
#include "libs/base/random.h"
#include "libs/base/status_macros.h"
#include "libs/base/unfinished_files.h"

namespace oncomesh::base {
namespace {

std::string ParentOf(const std::string& path) {
  size_t slash = path.rfind('/');
  if (slash == std::string::npos) return ".";
  return slash == 0 ? "/" : path.substr(0, slash);
}

absl::Status SyncDirectory(const std::string& path) {
  int fd = open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) return ErrnoStatus(errno, "open the folder");
  int rc = fsync(fd);
  int error = errno;
  close(fd);
  // Some file systems cannot sync a folder; they say EINVAL.
  if (rc != 0 && error != EINVAL) return ErrnoStatus(error, "sync the folder");
  return absl::OkStatus();
}

// The temporary names in use, where a signal handler can read them: it may not lock nor allocate,
// so that the lock is only between threads that write. A place that is taken again while the
// handler reads it makes it unlink a name that never was.
struct UnfinishedFile {
  enum State { kFree, kNamed };
  std::atomic<int> state{kFree};
  char path[PATH_MAX];
};
Mutex unfinished_mutex;
std::array<UnfinishedFile, 64> unfinished_files;
static_assert(std::atomic<int>::is_always_lock_free, "a signal handler must not wait");

void NoteUnfinished(const std::string& path) {
  if (path.size() >= PATH_MAX) return;
  MutexLock lock(unfinished_mutex);
  for (UnfinishedFile& place : unfinished_files) {
    if (place.state != UnfinishedFile::kFree) continue;
    std::memcpy(place.path, path.c_str(), path.size() + 1);
    place.state = UnfinishedFile::kNamed;
    return;
  }
}

// Names are never given twice, so that only the caller's place can have this one.
void ForgetUnfinished(const std::string& path) {
  MutexLock lock(unfinished_mutex);
  for (UnfinishedFile& place : unfinished_files) {
    if (place.state != UnfinishedFile::kNamed || path != place.path) continue;
    place.state = UnfinishedFile::kFree;
    return;
  }
}

}  // namespace

void RemoveUnfinishedFiles() {
  for (UnfinishedFile& place : unfinished_files) {
    if (place.state == UnfinishedFile::kNamed) unlink(place.path);
  }
}

absl::Status ErrnoStatus(int error, absl::string_view what) {
  std::string message = absl::StrCat("could not ", what, ": ", std::strerror(error));
  switch (error) {
    case ENOENT:
    case ENOTDIR:
      return Error(absl::StatusCode::kNotFound, "FILE_NOT_FOUND", message);
    case EEXIST:
      return Error(absl::StatusCode::kAlreadyExists, "FILE_EXISTS", message);
    case EACCES:
    case EPERM:
      return Error(absl::StatusCode::kPermissionDenied, "FILE_NOT_ALLOWED", message);
    case ENOSPC:
    case EDQUOT:
    case EFBIG:  // of the limit on this process or this file system
      return Error(absl::StatusCode::kResourceExhausted, "DISK_FULL",
                   absl::StrCat(message, "; free some space and run it again"));
    default:
      return Error(absl::StatusCode::kUnavailable, "FILE_ERROR", message);
  }
}

absl::StatusOr<std::string> ReadFile(const std::string& path, uint64_t limit) {
  int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return ErrnoStatus(errno, "open the file");
  std::string out;
  char buffer[64 * 1024];
  while (true) {
    ssize_t got = read(fd, buffer, sizeof(buffer));
    if (got < 0) {
      if (errno == EINTR) continue;
      int error = errno;
      close(fd);
      return ErrnoStatus(error, "read the file");
    }
    if (got == 0) break;
    if (out.size() + static_cast<uint64_t>(got) > limit) {
      close(fd);
      return Error(absl::StatusCode::kResourceExhausted, "FILE_TOO_LARGE",
                   absl::StrCat("the file is larger than ", limit, " bytes"));
    }
    out.append(buffer, static_cast<size_t>(got));
  }
  close(fd);
  return out;
}

absl::StatusOr<AtomicFile> AtomicFile::Create(const std::string& path, unsigned mode) {
  std::string temporary = absl::StrCat(ParentOf(path), "/.", NewId("part-"), ".tmp");
  // Noted first, so that there is no moment at which a signal leaves it behind.
  NoteUnfinished(temporary);
  int fd = open(temporary.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, mode);
  if (fd < 0) {
    int error = errno;
    ForgetUnfinished(temporary);
    return ErrnoStatus(error, "create a file");
  }
  // open() applies the umask; a key file must have exactly the mode asked for.
  if (fchmod(fd, mode) != 0) {
    int error = errno;
    close(fd);
    unlink(temporary.c_str());
    ForgetUnfinished(temporary);
    return ErrnoStatus(error, "set the mode of a file");
  }
  return AtomicFile(path, std::move(temporary), fd);
}

AtomicFile::AtomicFile(AtomicFile&& other) noexcept
    : path_(std::move(other.path_)),
      temporary_(std::move(other.temporary_)),
      fd_(std::exchange(other.fd_, -1)) {}

AtomicFile::~AtomicFile() {
  if (fd_ < 0) return;
  close(fd_);
  unlink(temporary_.c_str());
  ForgetUnfinished(temporary_);
}

absl::Status AtomicFile::Append(absl::string_view bytes) {
  while (!bytes.empty()) {
    ssize_t put = write(fd_, bytes.data(), bytes.size());
    if (put < 0) {
      if (errno == EINTR) continue;
      return ErrnoStatus(errno, "write a file");
    }
    bytes.remove_prefix(static_cast<size_t>(put));
  }
  return absl::OkStatus();
}

absl::Status AtomicFile::Commit(bool overwrite, bool sync) {
  if (sync && fdatasync(fd_) != 0) return ErrnoStatus(errno, "make a file durable");
  if (overwrite) {
    if (rename(temporary_.c_str(), path_.c_str()) != 0) return ErrnoStatus(errno, "name a file");
  } else {
    // One call where the file system can; a second name and the removal of the first elsewhere.
    if (renameat2(AT_FDCWD, temporary_.c_str(), AT_FDCWD, path_.c_str(), RENAME_NOREPLACE) != 0) {
      if (errno != EINVAL && errno != ENOSYS) return ErrnoStatus(errno, "name a file");
      if (link(temporary_.c_str(), path_.c_str()) != 0) return ErrnoStatus(errno, "name a file");
      unlink(temporary_.c_str());
    }
  }
  close(std::exchange(fd_, -1));
  ForgetUnfinished(temporary_);
  return sync ? SyncDirectory(ParentOf(path_)) : absl::OkStatus();
}

absl::Status WriteFileAtomically(const std::string& path, absl::string_view content, unsigned mode,
                                 bool overwrite) {
  ASSIGN_OR_RETURN(AtomicFile file, AtomicFile::Create(path, mode));
  RETURN_IF_ERROR(file.Append(content));
  return file.Commit(overwrite);
}

absl::Status MakeDirectories(const std::string& path, unsigned mode) {
  std::error_code error;
  if (std::filesystem::is_directory(path, error)) return absl::OkStatus();
  if (!std::filesystem::create_directories(path, error) && error) {
    return ErrnoStatus(error.value(), "make a folder");
  }
  if (chmod(path.c_str(), mode) != 0) return ErrnoStatus(errno, "set the mode of a folder");
  return absl::OkStatus();
}

absl::StatusOr<std::vector<std::string>> ListFiles(const std::string& root) {
  std::error_code error;
  auto status = std::filesystem::symlink_status(root, error);
  if (error || status.type() == std::filesystem::file_type::not_found) {
    return ErrnoStatus(error ? error.value() : ENOENT, "open the input");
  }
  std::vector<std::string> out;
  if (std::filesystem::is_regular_file(root, error)) {
    out.push_back(root);
    return out;
  }
  std::filesystem::recursive_directory_iterator it(root, error), end;
  if (error) return ErrnoStatus(error.value(), "list the folder");
  for (; it != end; it.increment(error)) {
    if (error) return ErrnoStatus(error.value(), "list the folder");
    std::error_code ignored;
    if (it->is_regular_file(ignored) && !it->is_symlink(ignored))
      out.push_back(it->path().string());
  }
  if (error) return ErrnoStatus(error.value(), "list the folder");
  std::sort(out.begin(), out.end());
  return out;
}

}  // namespace oncomesh::base
