// SPDX-License-Identifier: Apache-2.0
// A file as header, chunks of at most 1 MiB and finish; the shape of every download.
#pragma once

#include <fcntl.h>
#include <grpcpp/support/sync_stream.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <string>

#include "absl/status/status.h"
#include "libs/base/error.h"
#include "libs/base/files.h"

namespace oncomesh::training {

// Sends the file whose content has the digest `sha256`, from `offset` on. Errors: OUT_OF_RANGE
// (OFFSET_INVALID), CANCELLED when the receiver has gone, those of reading.
template <typename Response>
absl::Status SendFile(const std::string& path, const std::string& sha256, int64_t offset,
                      grpc::ServerWriter<Response>* writer) {
  constexpr size_t kChunk = 1 << 20;
  int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return base::ErrnoStatus(errno, "open a file to send");
  struct Closer {
    int fd;
    ~Closer() { close(fd); }
  } closer{fd};
  struct stat info{};
  if (fstat(fd, &info) != 0) return base::ErrnoStatus(errno, "read a file to send");
  if (offset < 0 || offset > info.st_size) {
    return base::Error(absl::StatusCode::kOutOfRange, "OFFSET_INVALID",
                       "the offset lies beyond the end; begin at 0");
  }
  absl::Status gone = absl::CancelledError("the receiver has gone");
  Response part;
  part.mutable_header()->set_bytes(info.st_size);
  part.mutable_header()->set_sha256(sha256);
  if (!writer->Write(part)) return gone;
  while (offset < info.st_size) {
    std::string* chunk = part.mutable_chunk();
    chunk->resize(std::min<size_t>(kChunk, static_cast<size_t>(info.st_size - offset)));
    ssize_t got = pread(fd, chunk->data(), chunk->size(), offset);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) return base::ErrnoStatus(got < 0 ? errno : EIO, "read a file to send");
    chunk->resize(static_cast<size_t>(got));
    offset += got;
    if (!writer->Write(part)) return gone;
  }
  part.mutable_finish()->set_sha256(sha256);
  return writer->Write(part) ? absl::OkStatus() : gone;
}

}  // namespace oncomesh::training
