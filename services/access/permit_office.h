// SPDX-License-Identifier: Apache-2.0
// The hub's office of permits: signs them, revokes them, and makes the trust bundle by which every
// site judges them.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "libs/base/clock.h"
#include "libs/base/random.h"
#include "libs/crypto/keys.h"
#include "libs/permit/permit.h"
#include "libs/rpc/caller.h"
#include "oncomesh/access/v1/access.pb.h"
#include "oncomesh/access/v1/trust.pb.h"
#include "services/access/access_store.h"
#include "services/access/people.h"

namespace oncomesh::access {

// Any thread.
class PermitOffice {
 public:
  struct Deps {
    AccessStore& store;
    base::Clock& clock;
    base::Random& random;
    std::string trust_domain;
    crypto::PrivateKey key;  // Ed25519
    PeopleIssuers issuers;
  };
  explicit PermitOffice(Deps deps);

  // A permit for `datasets` of the request. Not stored: RequestBook stores it with its decision.
  // Errors: those of permit::Sign.
  absl::StatusOr<PermitRow> Sign(const v1::Request& request,
                                 const std::vector<std::string>& datasets);

  // The permit when the caller may see it: its people, committee, auditor, operator, hub services.
  // Errors: NOT_FOUND (PERMIT_NOT_FOUND).
  absl::StatusOr<PermitRow> Get(const rpc::Caller& caller, const std::string& id);

  // Errors: NOT_FOUND (PERMIT_NOT_FOUND), INVALID_ARGUMENT (REASON_NEEDED). Returns the new epoch.
  absl::StatusOr<int64_t> Revoke(const std::string& id, const std::string& reason);

  // What every site needs to judge permits and people.
  absl::StatusOr<v1::TrustBundle> Bundle();

 private:
  Deps deps_;
  std::string kid_;
};

// The permit as the API shows it at `now`.
v1::Permit Shown(const PermitRow& row, absl::Time now);
// The claims of a verified permit as the API shows them.
v1::Permit Shown(const permit::Permit& permit);

// A bundle in the form in which permits are checked.
// Errors: INVALID_ARGUMENT (JWKS_INVALID).
absl::StatusOr<permit::TrustState> ToTrustState(const v1::TrustBundle& bundle, absl::Time fetched,
                                                absl::Duration max_age);

}  // namespace oncomesh::access
