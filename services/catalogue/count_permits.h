// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace oncomesh::catalogue {

// Judges permits that came with counts. Any thread.
class CountPermits {
 public:
  virtual ~CountPermits() = default;
  // The datasets that the permit names, when it is in force at this site and allows counting. Whom
  // it is for was judged by the hub, which knows the person.
  // Errors: those of permit::Check; UNAVAILABLE (ACCESS_UNAVAILABLE, TRUST_NOT_YET).
  virtual absl::StatusOr<std::vector<std::string>> Datasets(absl::string_view permit) = 0;
};

}  // namespace oncomesh::catalogue
