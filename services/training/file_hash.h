// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "libs/crypto/digest.h"

namespace oncomesh::training {

// Adds the first `bytes` of the open file to `hash`. Errors: those of reading, UNAVAILABLE
// (FILE_ERROR) for a shorter file.
absl::Status HashPrefix(int fd, int64_t bytes, crypto::Sha256& hash);

struct FileDigest {
  std::string sha256;  // hex
  int64_t bytes = 0;
};
// Of the whole open file. Errors: those of reading.
absl::StatusOr<FileDigest> HashWhole(int fd);

}  // namespace oncomesh::training
