// SPDX-License-Identifier: Apache-2.0
#include "libs/ledger/file_io.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>

#include "absl/strings/str_cat.h"
#include "libs/base/error.h"
#include "libs/base/files.h"

namespace oncomesh::ledger {

absl::Status WriteAt(int fd, uint64_t offset, absl::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t put = pwrite(fd, bytes.data(), bytes.size(), static_cast<off_t>(offset));
    if (put < 0) {
      if (errno == EINTR) continue;
      return base::ErrnoStatus(errno, "write the audit log");
    }
    bytes.remove_prefix(static_cast<size_t>(put));
    offset += static_cast<uint64_t>(put);
  }
  return absl::OkStatus();
}

absl::StatusOr<std::string> ReadAt(int fd, uint64_t offset, size_t size) {
  std::string out(size, '\0');
  size_t done = 0;
  while (done < size) {
    const ssize_t got =
        pread(fd, out.data() + done, size - done, static_cast<off_t>(offset + done));
    if (got < 0) {
      if (errno == EINTR) continue;
      return base::ErrnoStatus(errno, "read the audit log");
    }
    if (got == 0) break;
    done += static_cast<size_t>(got);
  }
  out.resize(done);
  return out;
}

absl::StatusOr<int> OpenFile(const std::string& path, int flags) {
  const int fd = open(path.c_str(), flags | O_CLOEXEC, 0640);
  if (fd < 0) return base::ErrnoStatus(errno, "open a file of the audit log");
  return fd;
}

int64_t SizeOf(int fd) {
  struct stat info{};
  return fstat(fd, &info) == 0 ? info.st_size : -1;
}

absl::Status Corrupt(absl::string_view what) {
  return base::Error(absl::StatusCode::kDataLoss, "LOG_CORRUPT",
                     absl::StrCat("the audit log is damaged: ", what,
                                  "; keep the folder as it is and restore it from a copy"));
}

}  // namespace oncomesh::ledger
