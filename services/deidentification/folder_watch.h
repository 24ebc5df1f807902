// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <sys/stat.h>

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "services/deidentification/intake.h"
#include "services/deidentification/intake_record.h"

namespace oncomesh::deidentification {

// Takes in the files of a folder: each that has been left alone for `quiet` is fed to the intake
// and removed from the folder once it is released or quarantined, and on record. What could not be
// worked on stays and is tried again, and so does what somebody has open for writing (on this
// machine) or changed meanwhile: no bytes are removed that were not read. A file whose time lies
// ahead of the clock is left alone for `quiet` as this object sees it. One thread.
class FolderWatch {
 public:
  FolderWatch(std::string folder, absl::Duration quiet, Intake& intake, base::Clock& clock)
      : folder_(std::move(folder)), quiet_(quiet), intake_(intake), clock_(clock) {}

  struct Pass {
    int released = 0, quarantined = 0, failed = 0;
  };
  // One look at the folder. Errors: those of listing it.
  absl::StatusOr<Pass> Look();

 private:
  // A file that was read and is not stored yet.
  struct Taken {
    std::string path;
    size_t index = 0;
    struct stat state{};
  };

  bool LeftAlone(const std::string& path, const struct stat& state);
  // Nothing when the file changed since `state` was taken or is being written.
  absl::StatusOr<std::optional<PreparedObject>> Read(const std::string& path,
                                                     const struct stat& state);
  // Stores what was read and removes the files. False when the look cannot go on.
  bool Settle(IntakeRecord& record, Pass& pass);

  const std::string folder_;
  const absl::Duration quiet_;
  Intake& intake_;
  base::Clock& clock_;
  std::vector<Taken> taken_;
  std::vector<PreparedObject> prepared_;  // of taken_
  // Files whose time lies ahead: as they were first seen, and when.
  std::map<std::string, std::pair<struct stat, absl::Time>> ahead_;
};

}  // namespace oncomesh::deidentification
