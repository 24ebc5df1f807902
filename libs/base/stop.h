// SPDX-License-Identifier: Apache-2.0
// How long work is ended before its result is there.
#pragma once

#include <functional>

#include "absl/status/status.h"
#include "libs/base/error.h"

namespace oncomesh::base {

// Asked now and then during long work, on its thread; the work ends when it says no. An empty one
// is never asked.
using GoOn = std::function<bool()>;

// Errors: ABORTED (STOPPED).
inline absl::Status CheckGoOn(const GoOn& go_on) {
  if (!go_on || go_on()) return absl::OkStatus();
  return Error(absl::StatusCode::kAborted, "STOPPED", "the result is no longer wanted");
}

}  // namespace oncomesh::base
