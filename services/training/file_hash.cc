// SPDX-License-Identifier: Apache-2.0
#include "services/training/file_hash.h"

#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <limits>

#include "libs/base/files.h"
#include "libs/base/status_macros.h"

namespace oncomesh::training {
namespace {

constexpr int64_t kBlock = 1 << 20;

// Adds at most `most` bytes and returns how many there were.
absl::StatusOr<int64_t> Hash(int fd, int64_t most, crypto::Sha256& hash) {
  std::string buffer(static_cast<size_t>(std::clamp<int64_t>(most, 0, kBlock)), '\0');
  int64_t at = 0;
  while (at < most) {
    ssize_t got = pread(fd, buffer.data(), std::min<int64_t>(most - at, kBlock), at);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return base::ErrnoStatus(errno, "read a file");
    if (got == 0) break;
    hash.Update(absl::string_view(buffer).substr(0, static_cast<size_t>(got)));
    at += got;
  }
  return at;
}

}  // namespace

absl::Status HashPrefix(int fd, int64_t bytes, crypto::Sha256& hash) {
  ASSIGN_OR_RETURN(int64_t hashed, Hash(fd, bytes, hash));
  return hashed >= bytes ? absl::OkStatus() : base::ErrnoStatus(EIO, "read a file");
}

absl::StatusOr<FileDigest> HashWhole(int fd) {
  crypto::Sha256 hash;
  ASSIGN_OR_RETURN(int64_t bytes, Hash(fd, std::numeric_limits<int64_t>::max(), hash));
  return FileDigest{hash.FinishHex(), bytes};
}

}  // namespace oncomesh::training
