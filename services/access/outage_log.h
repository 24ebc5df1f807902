// SPDX-License-Identifier: Apache-2.0
// Words about something that is tried again and again: one line when it begins to fail, one
// whenever it fails for another reason, one when it works again. Not one for each attempt.
#pragma once

#include <string>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "libs/base/error.h"
#include "libs/base/log.h"

namespace oncomesh::access {

// One thread.
class OutageLog {
 public:
  // Names of the events; both must outlive this.
  OutageLog(absl::string_view failed, absl::string_view recovered)
      : failed_(failed), recovered_(recovered) {}

  void Tell(const absl::Status& outcome) {
    const std::string reason = outcome.ok() ? "" : base::ReasonOf(outcome);
    if (reason == reason_) return;
    if (outcome.ok()) {
      base::Log(base::Level::kInfo, recovered_);
    } else {
      base::LogError(failed_, outcome);
    }
    reason_ = reason;
  }

 private:
  const absl::string_view failed_, recovered_;
  std::string reason_;  // of the last outcome; empty when it was good
};

}  // namespace oncomesh::access
