// SPDX-License-Identifier: Apache-2.0
// The access rule of each RPC, read from the method option beside it in the proto.
#pragma once

#include <string>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "libs/rpc/caller.h"
#include "oncomesh/options/v1/options.pb.h"

namespace oncomesh::rpc {

// The rule of "/oncomesh.catalogue.v1.CatalogueService/Search"; nullptr when the method or its rule
// does not exist. Any thread; the result lives as long as the process.
const options::v1::AccessRule* FindAccessRule(absl::string_view full_method);

// OK when every method of the service "oncomesh.catalogue.v1.CatalogueService" has a rule, and one
// that is audited and answers one request with a stream is so before it begins.
// Errors: FAILED_PRECONDITION (ACCESS_RULE_MISSING, ACCESS_RULE_AUDIT) naming the method.
absl::Status CheckServiceRules(absl::string_view full_service);

// OK when `rule` lets `caller` in at `site`. Errors: UNAUTHENTICATED (NOT_SIGNED_IN) for a caller
// without identity, PERMISSION_DENIED (ROLE_NEEDED or SERVICE_NOT_ALLOWED).
absl::Status Allow(const options::v1::AccessRule& rule, const Caller& caller,
                   absl::string_view site);

}  // namespace oncomesh::rpc
