// SPDX-License-Identifier: Apache-2.0
#include "services/deidentification/file_deidentifier.h"

#include <fcntl.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <optional>

#include "absl/strings/str_cat.h"
#include "libs/base/error.h"
#include "libs/base/files.h"
#include "libs/base/status_macros.h"

namespace oncomesh::deidentification {
namespace {

// Enough for the header of most images; what is read beyond it is copied once more than needed.
constexpr size_t kFirstRead = 16 << 10;
constexpr size_t kRead = 1 << 20;
// Below this a read and a write are cheaper than one more system call.
constexpr uint64_t kWorthMoving = 128 << 10;

class Descriptor {
 public:
  explicit Descriptor(int fd) : fd_(fd) {}
  ~Descriptor() {
    if (fd_ >= 0) close(fd_);
  }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  int get() const { return fd_; }

 private:
  int fd_;
};

bool SameContent(const std::string& a, const std::string& b) {
  Descriptor first(open(a.c_str(), O_RDONLY | O_CLOEXEC));
  Descriptor second(open(b.c_str(), O_RDONLY | O_CLOEXEC));
  if (first.get() < 0 || second.get() < 0) return false;
  std::string left(kRead, '\0'), right(kRead, '\0');
  for (;;) {
    ssize_t got = read(first.get(), left.data(), left.size());
    if (got < 0) return false;
    ssize_t have = 0;
    while (have < got || got == 0) {
      ssize_t more =
          read(second.get(), right.data() + have, got == 0 ? 1 : static_cast<size_t>(got - have));
      if (more <= 0) return got == 0 && more == 0;
      if (got == 0) return false;
      have += more;
    }
    if (!std::equal(left.begin(), left.begin() + got, right.begin())) return false;
  }
}

}  // namespace

absl::Status WrittenPaths::Commit(const std::string& path,
                                  absl::FunctionRef<absl::Status(bool first)> commit) {
  Shard& shard = shards_[std::hash<std::string>()(path) % shards_.size()];
  base::MutexLock lock(shard.mutex);
  absl::Status status = commit(shard.paths.count(path) == 0);
  if (status.ok()) shard.paths.insert(path);
  return status;
}

absl::StatusOr<std::string> FileSha256(const std::string& path, uint64_t* bytes) {
  Descriptor file(open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (file.get() < 0) return base::ErrnoStatus(errno, "open a file");
  crypto::Sha256 hash;
  std::string buffer(256 << 10, '\0');
  uint64_t total = 0;
  for (;;) {
    ssize_t got = read(file.get(), buffer.data(), buffer.size());
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return base::ErrnoStatus(errno, "read a file");
    if (got == 0) break;
    hash.Update(absl::string_view(buffer.data(), static_cast<size_t>(got)));
    total += static_cast<uint64_t>(got);
  }
  if (bytes != nullptr) *bytes = total;
  return hash.Finish();
}

class FileDeidentifier::Sink final : public ObjectSink {
 public:
  explicit Sink(FileDeidentifier& owner) : owner_(owner) {}

  absl::Status Begin(const Outcome& identity) override {
    std::string folder =
        absl::StrCat(identity.patient_code, "/", identity.study_uid, "/", identity.series_uid);
    path_ = absl::StrCat(folder, "/", identity.sop_instance_uid, ".dcm");
    if (folder != owner_.last_folder_) {
      RETURN_IF_ERROR(base::MakeDirectories(absl::StrCat(owner_.output_folder_, "/", folder)));
      owner_.last_folder_ = folder;
    }
    ASSIGN_OR_RETURN(base::AtomicFile file, base::AtomicFile::Create(full_path()));
    file_.emplace(std::move(file));
    return absl::OkStatus();
  }

  absl::Status Append(absl::string_view bytes) override {
    if (owner_.options_.hash) hash_.Update(bytes);
    return file_->Append(bytes);
  }

  // Moves `bytes` from `source` at `offset` to the end of the output.
  absl::Status Move(int source, uint64_t offset, uint64_t bytes) {
    if (owner_.options_.hash) return Pump(source, offset, bytes);
    off_t from = static_cast<off_t>(offset);
    while (bytes > 0) {
      ssize_t moved = copy_file_range(source, &from, file_->fd(), nullptr, bytes, 0);
      if (moved < 0 && errno == EINTR) continue;
      // Another file system, or one that cannot: the page cache can still do without a copy to
      // this process.
      if (moved < 0 && (errno == EXDEV || errno == EINVAL || errno == ENOSYS ||
                        errno == EOPNOTSUPP || errno == EBADF)) {
        moved = sendfile(file_->fd(), source, &from, bytes);
        if (moved < 0 && errno == EINTR) continue;
        if (moved < 0 && (errno == EINVAL || errno == ENOSYS)) {
          return Pump(source, static_cast<uint64_t>(from), bytes);
        }
      }
      if (moved < 0) return base::ErrnoStatus(errno, "copy the pixels");
      if (moved == 0) return Shrunk();
      bytes -= static_cast<uint64_t>(moved);
    }
    return absl::OkStatus();
  }

  const std::string& path() const { return path_; }
  std::string full_path() const { return absl::StrCat(owner_.output_folder_, "/", path_); }
  base::AtomicFile& file() { return *file_; }
  std::string Digest() { return owner_.options_.hash ? hash_.FinishHex() : std::string(); }

 private:
  absl::Status Pump(int source, uint64_t offset, uint64_t bytes) {
    // Small enough to stay in the second-level cache between reading, hashing and writing.
    std::string& buffer = owner_.buffer_;
    while (bytes > 0) {
      size_t want = static_cast<size_t>(std::min<uint64_t>(bytes, 256 << 10));
      buffer.resize(std::max(buffer.size(), want));
      ssize_t got = pread(source, buffer.data(), want, static_cast<off_t>(offset));
      if (got < 0 && errno == EINTR) continue;
      if (got < 0) return base::ErrnoStatus(errno, "read the source");
      if (got == 0) return Shrunk();
      RETURN_IF_ERROR(Append(absl::string_view(buffer.data(), static_cast<size_t>(got))));
      offset += static_cast<uint64_t>(got);
      bytes -= static_cast<uint64_t>(got);
    }
    return absl::OkStatus();
  }

  static absl::Status Shrunk() {
    return base::Error(absl::StatusCode::kUnavailable, "FILE_CHANGED",
                       "a source file became shorter while it was read; run it again");
  }

  FileDeidentifier& owner_;
  std::string path_;
  std::optional<base::AtomicFile> file_;
  crypto::Sha256 hash_;
};

FileDeidentifier::FileDeidentifier(const Deidentifier& deidentifier, std::string output_folder,
                                   Options options)
    : stream_(deidentifier), output_folder_(std::move(output_folder)), options_(options) {}

absl::StatusOr<FileOutcome> FileDeidentifier::Run(const std::string& source) {
  Descriptor input(open(source.c_str(), O_RDONLY | O_CLOEXEC | O_NOCTTY));
  if (input.get() < 0) return base::ErrnoStatus(errno, "open a source file");
  struct stat state{};
  if (fstat(input.get(), &state) != 0) return base::ErrnoStatus(errno, "read a source file");
  const uint64_t size = static_cast<uint64_t>(state.st_size);
  FileOutcome out;
  if (size == 0) {
    out.outcome.reason = "FILE_EMPTY";
    return out;
  }
  Sink sink(*this);
  stream_.Start(&sink);
  uint64_t offset = 0;
  size_t want = kFirstRead;
  while (offset < size && !stream_.quarantined()) {
    uint64_t movable = std::min(stream_.Passthrough(), size - offset);
    if (movable >= kWorthMoving) {
      RETURN_IF_ERROR(sink.Move(input.get(), offset, movable));
      stream_.Skip(movable);
      offset += movable;
      continue;
    }
    buffer_.resize(std::max(buffer_.size(), want));
    ssize_t got = pread(input.get(), buffer_.data(), want, static_cast<off_t>(offset));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return base::ErrnoStatus(errno, "read a source file");
    if (got == 0) break;
    RETURN_IF_ERROR(stream_.Feed(absl::string_view(buffer_.data(), static_cast<size_t>(got))));
    offset += static_cast<uint64_t>(got);
    want = std::min(4 * want, kRead);
  }
  ASSIGN_OR_RETURN(out.outcome, stream_.Finish());
  out.outcome.bytes_read = size;
  if (!out.outcome.released) return out;
  out.path = sink.path();
  out.sha256 = sink.Digest();
  auto commit = [&](bool first) {
    return sink.file().Commit(options_.overwrite && first, /*sync=*/false);
  };
  const absl::Status named = options_.written == nullptr
                                 ? commit(/*first=*/true)
                                 : options_.written->Commit(out.path, commit);
  if (base::ReasonOf(named) == "FILE_EXISTS") {
    if (SameContent(sink.file().temporary_path(), sink.full_path())) return out;
    FileOutcome duplicate;
    duplicate.outcome.reason = "DUPLICATE_INSTANCE";
    duplicate.outcome.bytes_read = size;
    return duplicate;
  }
  RETURN_IF_ERROR(named);
  return out;
}

}  // namespace oncomesh::deidentification
