// SPDX-License-Identifier: Apache-2.0
// The trainers installed at a node: one folder each, with `trainer.json` and whatever its command
// needs. doc/formats/trainer.md.
#pragma once

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace oncomesh::training {

struct TrainerPackage {
  std::string name;
  std::string folder;                // absolute
  std::vector<std::string> command;  // run in the folder
  std::string digest;                // hex SHA-256
};

// Reads the folder anew each time. Any thread.
class TrainerShelf {
 public:
  explicit TrainerShelf(std::string root) : root_(std::move(root)) {}

  // Errors: NOT_FOUND (TRAINER_NOT_INSTALLED), FAILED_PRECONDITION (TRAINER_DAMAGED): trainer.json
  // is missing or not as documented, the folder has a symbolic link, more than 10,000 files or
  // 1 GiB.
  absl::StatusOr<TrainerPackage> Load(const std::string& name) const;
  // Copies the trainer to `to`, which is made, and loads it from there: what runs out of the copy
  // is what was hashed, whatever happens to the folder meanwhile. Errors: as Load;
  // RESOURCE_EXHAUSTED (DISK_FULL), UNAVAILABLE for what the disk says.
  absl::StatusOr<TrainerPackage> Copy(const std::string& name, const std::string& to) const;
  // Names of the folders, sorted.
  std::vector<std::string> Names() const;

 private:
  absl::StatusOr<std::string> FolderOf(const std::string& name) const;
  const std::string root_;
};

// The digest of a folder: SHA-256 over one line "<hex SHA-256>  <relative path>\n" per regular
// file, in byte order of the paths; what `find . -type f -printf '%P\n' | LC_ALL=C sort | xargs -d
// '\n' sha256sum | sha256sum` prints. Errors: FAILED_PRECONDITION (TRAINER_DAMAGED).
absl::StatusOr<std::string> FolderDigest(const std::string& folder);

}  // namespace oncomesh::training
