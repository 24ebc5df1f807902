// SPDX-License-Identifier: Apache-2.0
// De-identifies files into a tree `<patient code>/<study UID>/<series UID>/<SOP instance UID>.dcm`.
// The kernel copies the pixels where it can, so that a file costs little more than `cp`.
#pragma once

#include <array>
#include <string>
#include <unordered_set>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "libs/base/mutex.h"
#include "services/deidentification/deidentifier.h"

namespace oncomesh::deidentification {

// The output paths one run has written. Any thread.
class WrittenPaths {
 public:
  // Calls `commit`, whether `path` is the first of its name that the run writes, and returns what
  // it returns; the path counts as written when that is OK. No two commits of one path at a time:
  // of two objects with one name, the one that comes first is there before the other is tried.
  absl::Status Commit(const std::string& path, absl::FunctionRef<absl::Status(bool first)> commit);

 private:
  // By the path's hash, so that workers seldom wait for one another.
  struct Shard {
    base::Mutex mutex;
    std::unordered_set<std::string> paths ABSL_GUARDED_BY(mutex);
  };
  std::array<Shard, 64> shards_;
};

struct FileOutcome {
  Outcome outcome;
  std::string path;    // below the output folder, of new values only; of a released object
  std::string sha256;  // of the output, when asked for
};

// Writes each file whole or not at all. One thread.
class FileDeidentifier {
 public:
  struct Options {
    bool hash = true;        // fill FileOutcome::sha256
    bool overwrite = false;  // replace what an earlier run wrote
    // Shared by the workers of one run.
    WrittenPaths* written = nullptr;
  };

  FileDeidentifier(const Deidentifier& deidentifier, std::string output_folder, Options options);

  // Errors are those of the disk: NOT_FOUND or PERMISSION_DENIED (source), RESOURCE_EXHAUSTED
  // (DISK_FULL), ALREADY_EXISTS never: an output that is there with the same bytes is released
  // again, one with other bytes quarantines the object (DUPLICATE_INSTANCE).
  absl::StatusOr<FileOutcome> Run(const std::string& source);

 private:
  class Sink;
  StreamDeidentifier stream_;
  const std::string output_folder_;
  const Options options_;
  std::string buffer_;
  std::string last_folder_;  // made already
};

// SHA-256 (32 bytes) of a file, read in parts. `bytes` gets its size when not null.
// Errors: those of the disk.
absl::StatusOr<std::string> FileSha256(const std::string& path, uint64_t* bytes = nullptr);

}  // namespace oncomesh::deidentification
