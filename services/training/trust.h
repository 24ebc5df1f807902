// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "libs/base/error.h"
#include "libs/permit/permit.h"

namespace oncomesh::training {

// What the site knows of permits right now. Errors: UNAVAILABLE. Any thread.
using TrustSource = std::function<absl::StatusOr<permit::TrustState>()>;

// True for what permit::CheckInForce says of a permit that will not be in force again.
inline bool IsOver(const absl::Status& permitted) {
  const std::string reason = base::ReasonOf(permitted);
  return reason == "PERMIT_REVOKED" || reason == "PERMIT_EXPIRED";
}

}  // namespace oncomesh::training
