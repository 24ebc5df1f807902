// SPDX-License-Identifier: Apache-2.0
// Quarantined originals, encrypted at rest. Format "oncomesh-seal/1" (doc/formats/manifest.md):
// a header with a random salt, then frames of at most 1 MiB, each sealed with AES-256-GCM under a
// key of the file's own; the nonce counts the frames and marks the last, so that frames cannot be
// left out, repeated, put in another order or cut off.
#pragma once

#include <optional>
#include <string>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "libs/base/files.h"

namespace oncomesh::deidentification {

// Writes one sealed file in parts; one thread. Nothing is left behind without Commit. The first
// 1 MiB is held in memory, so that what is small and not kept costs no file.
class FileSealer {
 public:
  // `key` has 32 bytes.
  FileSealer(std::string path, absl::string_view key);
  // Errors of both as of base::AtomicFile.
  absl::Status Append(absl::string_view bytes);
  absl::Status Commit();

 private:
  absl::Status WriteFrame(bool last);

  std::string path_;
  std::optional<base::AtomicFile> file_;
  std::string salt_;
  std::string key_;
  std::string frame_;
  uint64_t frames_ = 0;
};

// Seals a whole file. Errors: those of the disk.
absl::Status SealFile(const std::string& source, const std::string& target, absl::string_view key);

// Calls `take` with the content in parts of at most 1 MiB. Each part is genuine; that all are
// there is known only when OK is returned.
// Errors: NOT_FOUND, INVALID_ARGUMENT (SEAL_INVALID), DATA_LOSS (SEAL_BROKEN), and those of `take`.
absl::Status UnsealFile(const std::string& path, absl::string_view key,
                        absl::FunctionRef<absl::Status(absl::string_view)> take);

}  // namespace oncomesh::deidentification
