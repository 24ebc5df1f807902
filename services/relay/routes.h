// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "services/relay/call.h"

namespace oncomesh::relay {

// The services of a site, by the beginning of the method.
class Routes {
 public:
  // Errors: INVALID_ARGUMENT (ROUTE_INVALID) for a prefix that does not start with '/', stands
  // twice, or would catch the relay's own methods.
  absl::Status Add(std::string prefix, std::shared_ptr<Line> line);
  // The line of the longest prefix that fits; nullptr when none does. Lives as long as this.
  Line* Find(absl::string_view method) const;

 private:
  std::vector<std::pair<std::string, std::shared_ptr<Line>>> routes_;  // the longest first
};

}  // namespace oncomesh::relay
