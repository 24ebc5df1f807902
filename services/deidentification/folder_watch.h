// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "services/deidentification/intake.h"

namespace oncomesh::deidentification {

// Takes in the files of a folder: each that has been left alone for `quiet` is fed to the intake
// and removed from the folder once it is released or quarantined. What could not be worked on stays
// and is tried again. One thread.
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
  absl::StatusOr<IntakeResult> TakeIn(const std::string& path);

  const std::string folder_;
  const absl::Duration quiet_;
  Intake& intake_;
  base::Clock& clock_;
};

}  // namespace oncomesh::deidentification
