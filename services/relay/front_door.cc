// SPDX-License-Identifier: Apache-2.0
#include "services/relay/front_door.h"

#include <utility>

#include "libs/base/error.h"
#include "services/relay/forwarding.h"

namespace oncomesh::relay {

absl::Status NeedDeadline(const CallHeader& header) {
  if (header.deadline != absl::InfiniteFuture()) return absl::OkStatus();
  return base::Error(absl::StatusCode::kInvalidArgument, "DEADLINE_NEEDED",
                     "every call must carry a deadline");
}

std::shared_ptr<Pump> PassToSite(const Routes& routes, ActiveCalls& calls, Direction direction,
                                 std::shared_ptr<IncomingCall> call, absl::string_view caller,
                                 ActiveCalls::Ended ended) {
  Line* line = routes.Find(call->header().method);
  if (line == nullptr) {
    calls.Refuse(direction, call,
                 base::Error(absl::StatusCode::kUnimplemented, "METHOD_UNKNOWN",
                             "no service of this site has such a method"));
    return nullptr;
  }
  if (absl::Status status = NeedDeadline(call->header()); !status.ok()) {
    calls.Refuse(direction, call, status);
    return nullptr;
  }
  CallHeader header = Forwarded(call->header(), caller, /*keep_token=*/caller.empty());
  return calls.Start(direction, std::move(call), std::move(header), line->NewCall(),
                     std::move(ended));
}

}  // namespace oncomesh::relay
