// SPDX-License-Identifier: Apache-2.0
#include "services/relay/routes.h"

#include <algorithm>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "libs/base/error.h"

namespace oncomesh::relay {

absl::Status Routes::Add(std::string prefix, std::shared_ptr<Line> line) {
  bool taken = std::any_of(routes_.begin(), routes_.end(),
                           [&](const auto& route) { return route.first == prefix; });
  if (taken || prefix.size() < 2 || prefix[0] != '/' ||
      absl::StartsWith("/oncomesh.relay.v1.", prefix) ||
      absl::StartsWith(prefix, "/oncomesh.relay.")) {
    return base::Error(absl::StatusCode::kInvalidArgument, "ROUTE_INVALID",
                       absl::StrCat("the route '", prefix,
                                    "' stands twice, does not start with '/', or catches the "
                                    "relay's own methods; a prefix is like /oncomesh.access.v1."),
                       {{"prefix", prefix}});
  }
  routes_.emplace_back(std::move(prefix), std::move(line));
  std::stable_sort(routes_.begin(), routes_.end(),
                   [](const auto& a, const auto& b) { return a.first.size() > b.first.size(); });
  return absl::OkStatus();
}

Line* Routes::Find(absl::string_view method) const {
  for (const auto& [prefix, line] : routes_) {
    if (absl::StartsWith(method, prefix)) return line.get();
  }
  return nullptr;
}

}  // namespace oncomesh::relay
