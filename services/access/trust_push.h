// SPDX-License-Identifier: Apache-2.0
// The hub tells its nodes of a new trust bundle at once, and says whom it could not tell.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "oncomesh/access/v1/trust.pb.h"
#include "services/access/access_store.h"
#include "services/access/enrolment.h"

namespace oncomesh::access {

// Tells members of a new bundle. Every member is then in `told`, when it has confirmed the bundle,
// or in `missing`, by name. Errors: those of the store, when it cannot be read who is a member.
using PushTrust =
    std::function<absl::Status(const v1::TrustBundle& bundle, std::vector<std::string>& told,
                               std::vector<std::string>& missing)>;

// Sends to one node; true when it has confirmed. Called by several threads at once.
using SendTrust = std::function<bool(const std::string& node, const v1::TrustBundle& bundle)>;

// Sends to all members that `relay` shows as connected, at the same time, and waits for them. A
// relay that does not answer makes every member one that was not told. `store` and `relay` must
// outlive what is returned.
PushTrust MakePushTrust(AccessStore& store, RelayControl& relay, SendTrust send);

}  // namespace oncomesh::access
