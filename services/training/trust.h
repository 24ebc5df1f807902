// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>

#include "absl/status/statusor.h"
#include "libs/permit/permit.h"

namespace oncomesh::training {

// What the site knows of permits right now. Errors: UNAVAILABLE. Any thread.
using TrustSource = std::function<absl::StatusOr<permit::TrustState>()>;

}  // namespace oncomesh::training
