// SPDX-License-Identifier: Apache-2.0
#include "services/deidentification/folders.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>

#include "libs/base/error.h"
#include "libs/base/files.h"

namespace oncomesh::deidentification {

absl::Status SyncFolder(const std::string& path) {
  int fd = open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) return base::ErrnoStatus(errno, "open a folder");
  absl::Status status;
  if (fsync(fd) != 0) status = base::ErrnoStatus(errno, "sync a folder");
  close(fd);
  return status;
}

}  // namespace oncomesh::deidentification
