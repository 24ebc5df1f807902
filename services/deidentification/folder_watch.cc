// SPDX-License-Identifier: Apache-2.0
#include "services/deidentification/folder_watch.h"

#include <fcntl.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>

#include "libs/base/error.h"
#include "libs/base/files.h"
#include "libs/base/log.h"
#include "libs/base/status_macros.h"
#include "services/deidentification/folder_run.h"

namespace oncomesh::deidentification {
namespace {

// Stored together, as an Ingest call does it.
constexpr size_t kMostFiles = 128;
constexpr int64_t kMostBytes = int64_t{256} << 20;

// Of a writer between two writes.
constexpr absl::Duration kLongestPause = absl::Hours(1);

bool Same(const struct timespec& a, const struct timespec& b) {
  return a.tv_sec == b.tv_sec && a.tv_nsec == b.tv_nsec;
}

// The same file, unchanged. The time of the status moves even when a writer sets the other one.
bool Same(const struct stat& a, const struct stat& b) {
  return a.st_dev == b.st_dev && a.st_ino == b.st_ino && a.st_size == b.st_size &&
         Same(a.st_mtim, b.st_mtim) && Same(a.st_ctim, b.st_ctim);
}

// Network file systems give a lease, or none, for reasons of their own.
bool TellsWritersByLease(int fd) {
  struct statfs system{};
  if (fstatfs(fd, &system) != 0) return false;
  switch (static_cast<uint32_t>(system.f_type)) {
    case 0x6969:      // NFS
    case 0xff534d42:  // CIFS
    case 0xfe534d42:  // SMB 2
      return false;
    default:
      return true;
  }
}

// Whether a process of this machine has the file open for writing: then no lease to read it is
// given. False, too, where the file system has no leases.
bool IsBeingWritten(int fd) {
  if (!TellsWritersByLease(fd)) return false;
  // A writer that comes while the lease is held is told of by this signal, which nobody minds.
  fcntl(fd, F_SETSIG, SIGURG);
  if (fcntl(fd, F_SETLEASE, F_RDLCK) != 0) return errno == EAGAIN;
  fcntl(fd, F_SETLEASE, F_UNLCK);
  return false;
}

class Descriptor {
 public:
  explicit Descriptor(const std::string& path)
      : fd_(open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK)) {}
  ~Descriptor() {
    if (fd_ >= 0) close(fd_);
  }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  int get() const { return fd_; }
  // Whether it is open on the file that `state` is of, as it was then, and nobody writes to it; at
  // `now`, because who keeps a file open for long and writes nothing may be forgotten.
  bool Unchanged(const struct stat& state, absl::Time now) const {
    struct stat present{};
    if (fd_ < 0 || fstat(fd_, &present) != 0 || !Same(present, state)) return false;
    return now - absl::TimeFromTimespec(state.st_mtim) > kLongestPause || !IsBeingWritten(fd_);
  }

 private:
  const int fd_;
};

}  // namespace

absl::StatusOr<FolderWatch::Pass> FolderWatch::Look() {
  Pass pass;
  ASSIGN_OR_RETURN(std::vector<std::string> files, base::ListFiles(folder_));
  const std::unique_ptr<IntakeRecord> record = intake_.NewRecord();
  int64_t bytes = 0;
  bool going_on = true;
  for (size_t index = 0; index < files.size() && going_on; ++index) {
    const std::string& path = files[index];
    struct stat state{};
    if (lstat(path.c_str(), &state) != 0 || !S_ISREG(state.st_mode)) continue;
    if (!LeftAlone(path, state)) continue;
    absl::StatusOr<std::optional<PreparedObject>> object = Read(path, state);
    if (!object.ok()) {
      ++pass.failed;
      base::LogError("intake.file_failed", object.status());
      if (object.status().code() == absl::StatusCode::kResourceExhausted) break;
      continue;
    }
    if (!object->has_value()) continue;
    taken_.push_back({path, index, state});
    prepared_.push_back(*std::move(*object));
    bytes += state.st_size;
    if (taken_.size() >= kMostFiles || bytes >= kMostBytes) {
      going_on = Settle(*record, pass);
      bytes = 0;
    }
  }
  Settle(*record, pass);
  for (auto entry = ahead_.begin(); entry != ahead_.end();) {
    const bool there = std::binary_search(files.begin(), files.end(), entry->first);
    entry = there ? std::next(entry) : ahead_.erase(entry);
  }
  // What was taken in is safe, and in the record's journal.
  if (absl::Status kept = record->Finish().status(); !kept.ok()) {
    base::LogError("intake.manifest_failed", kept);
  }
  return pass;
}

bool FolderWatch::LeftAlone(const std::string& path, const struct stat& state) {
  const absl::Time now = clock_.Now();
  const absl::Time changed = absl::TimeFromTimespec(state.st_mtim);
  if (changed <= now) {
    ahead_.erase(path);
    return now - changed >= quiet_;
  }
  auto [entry, fresh] = ahead_.try_emplace(path, state, now);
  if (fresh) {
    base::Log(base::Level::kWarning, "intake.file_time_ahead",
              {{"seconds", absl::ToInt64Seconds(changed - now)}});
  } else if (!Same(entry->second.first, state)) {
    entry->second = {state, now};
  }
  return now - entry->second.second >= quiet_;
}

absl::StatusOr<std::optional<PreparedObject>> FolderWatch::Read(const std::string& path,
                                                                const struct stat& state) {
  const Descriptor file(path);
  if (file.get() < 0) {
    if (errno == ENOENT) return std::nullopt;
    return base::ErrnoStatus(errno, "open a file to take in");
  }
  if (!file.Unchanged(state, clock_.Now())) return std::nullopt;
  ASSIGN_OR_RETURN(
      std::unique_ptr<Intake::Object> object,
      intake_.Start(IsClinicalTable(path) ? ObjectKind::kClinicalTable : ObjectKind::kDicom));
  std::string buffer(1 << 20, '\0');
  while (true) {
    ssize_t got = read(file.get(), buffer.data(), buffer.size());
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return base::ErrnoStatus(errno, "read a file to take in");
    if (got == 0) break;
    RETURN_IF_ERROR(object->Append(absl::string_view(buffer.data(), static_cast<size_t>(got))));
  }
  if (!file.Unchanged(state, clock_.Now())) return std::nullopt;
  ASSIGN_OR_RETURN(PreparedObject prepared, object->Finish(""));
  return std::make_optional(std::move(prepared));
}

bool FolderWatch::Settle(IntakeRecord& record, Pass& pass) {
  const std::vector<Taken> taken = std::exchange(taken_, {});
  const std::vector<absl::StatusOr<IntakeResult>> results =
      intake_.Store(std::exchange(prepared_, {}));
  bool going_on = true;
  for (size_t i = 0; i < taken.size(); ++i) {
    if (results[i].ok()) {
      record.Add(taken[i].index, *results[i]);
      continue;
    }
    ++pass.failed;
    base::LogError("intake.file_failed", results[i].status());
    if (results[i].status().code() == absl::StatusCode::kResourceExhausted) going_on = false;
  }
  // What is not on record stays, and comes again.
  if (absl::Status kept = record.Keep(); !kept.ok()) {
    base::LogError("intake.manifest_failed", kept);
    return false;
  }
  for (size_t i = 0; i < taken.size(); ++i) {
    if (!results[i].ok()) continue;
    ++(results[i]->state == IntakeResult::State::kReleased ? pass.released : pass.quarantined);
    // Another file may have this name by now, or this one more bytes.
    if (!Descriptor(taken[i].path).Unchanged(taken[i].state, clock_.Now())) continue;
    if (unlink(taken[i].path.c_str()) != 0) {
      base::LogError("intake.file_kept", base::ErrnoStatus(errno, "remove a file taken in"));
    }
  }
  return going_on;
}

}  // namespace oncomesh::deidentification
