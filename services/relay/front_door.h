// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>

#include "services/relay/active_calls.h"
#include "services/relay/call.h"
#include "services/relay/routes.h"

namespace oncomesh::relay {

// Passes a call on to a service of this site. `caller` is what the service is told of the caller;
// empty for a person, who brings a token instead. Returns the pump, or nullptr when the call was
// refused: UNIMPLEMENTED (METHOD_UNKNOWN), INVALID_ARGUMENT (DEADLINE_NEEDED).
std::shared_ptr<Pump> PassToSite(const Routes& routes, ActiveCalls& calls, Direction direction,
                                 std::shared_ptr<IncomingCall> call, absl::string_view caller,
                                 ActiveCalls::Ended ended = nullptr);

// OK when the call has a deadline. Errors: INVALID_ARGUMENT (DEADLINE_NEEDED).
absl::Status NeedDeadline(const CallHeader& header);

}  // namespace oncomesh::relay
