// SPDX-License-Identifier: Apache-2.0
#include "services/access/permit_office.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "libs/base/error.h"
#include "libs/base/status_macros.h"
#include "libs/crypto/jws.h"

namespace oncomesh::access {
namespace {

// The lowest limit that any of those who approved has set; 0 when nobody did.
int32_t MaxRounds(const v1::Request& request) {
  int32_t lowest = 0;
  auto limit = [&](const v1::Decision& decision) {
    if (!decision.approved() || decision.max_rounds() == 0) return;
    lowest = lowest == 0 ? decision.max_rounds() : std::min(lowest, decision.max_rounds());
  };
  for (const v1::DatasetDecision& entry : request.datasets()) limit(entry.holder());
  limit(request.committee());
  return lowest;
}

}  // namespace

PermitOffice::PermitOffice(Deps deps)
    : deps_(std::move(deps)), kid_(crypto::Thumbprint(deps_.key.Public())) {}

absl::StatusOr<PermitRow> PermitOffice::Sign(const v1::Request& request,
                                             const std::vector<std::string>& datasets) {
  ASSIGN_OR_RETURN(int64_t epoch, deps_.store.Epoch());
  permit::Permit claims{.id = base::NewId("permit-", deps_.random),
                        .issuer = deps_.trust_domain,
                        .people = {request.applicant()},
                        .datasets = datasets,
                        .purpose = request.purpose(),
                        .operations = {request.operations().begin(), request.operations().end()},
                        .max_rounds = MaxRounds(request),
                        .not_before = absl::FromUnixSeconds(absl::ToUnixSeconds(deps_.clock.Now())),
                        .expires = absl::FromUnixSeconds(request.until_time().seconds()),
                        .epoch = epoch,
                        .request = request.id()};
  PermitRow row;
  row.permit = Shown(claims);
  ASSIGN_OR_RETURN(row.jws, permit::Sign(claims, deps_.key, kid_));
  return row;
}

absl::StatusOr<PermitRow> PermitOffice::Get(const rpc::Caller& caller, const std::string& id) {
  ASSIGN_OR_RETURN(PermitRow row, deps_.store.GetPermit(id));
  const auto& people = row.permit.people();
  const bool mine = caller.kind == rpc::Caller::Kind::kPerson &&
                    std::find(people.begin(), people.end(), caller.subject) != people.end();
  const bool official = caller.kind == rpc::Caller::Kind::kService || caller.HasRole("committee") ||
                        caller.HasRole("auditor") || caller.HasRole("operator");
  if (!mine && !official) {
    return base::Error(absl::StatusCode::kNotFound, "PERMIT_NOT_FOUND",
                       "there is no permit of this name, or it is not yours to see",
                       {{"name", id}});
  }
  // The signed form is a key: only its people, and the services that use it for them, get it.
  if (!mine && caller.kind == rpc::Caller::Kind::kPerson) row.jws.clear();
  return row;
}

absl::StatusOr<int64_t> PermitOffice::Revoke(const std::string& id, const std::string& reason) {
  if (reason.empty() || reason.size() > 2000) {
    return base::Error(absl::StatusCode::kInvalidArgument, "REASON_NEEDED",
                       "say why, in at most 2,000 characters");
  }
  return deps_.store.RevokePermit(id, reason);
}

absl::StatusOr<v1::TrustBundle> PermitOffice::Bundle() {
  v1::TrustBundle bundle;
  const absl::Time now = deps_.clock.Now();
  // The epoch is read first: what is added later belongs to a higher one.
  ASSIGN_OR_RETURN(int64_t epoch, deps_.store.Epoch());
  bundle.set_epoch(epoch);
  bundle.set_issuer(deps_.trust_domain);
  bundle.set_permit_keys_jwks(crypto::PrintJwks({{kid_, deps_.key.Public()}}));
  ASSIGN_OR_RETURN(std::vector<std::string> revoked, deps_.store.RevokedPermits(now));
  for (std::string& id : revoked) bundle.add_revoked_permits(std::move(id));
  ASSIGN_OR_RETURN(std::vector<v1::PeopleIssuer> issuers, deps_.issuers());
  for (v1::PeopleIssuer& issuer : issuers) *bundle.add_people_issuers() = std::move(issuer);
  ASSIGN_OR_RETURN(std::vector<NodeRow> nodes, deps_.store.Nodes());
  for (const NodeRow& node : nodes) {
    if (node.state == v1::Node::STATE_SUSPENDED || node.state == v1::Node::STATE_REMOVED) {
      bundle.add_suspended_nodes(node.name);
    }
  }
  bundle.mutable_make_time()->set_seconds(absl::ToUnixSeconds(now));
  return bundle;
}

v1::Permit Shown(const permit::Permit& permit) {
  v1::Permit out;
  out.set_id(permit.id);
  out.set_state(v1::Permit::STATE_ACTIVE);
  for (const std::string& person : permit.people) out.add_people(person);
  for (const std::string& dataset : permit.datasets) out.add_datasets(dataset);
  for (const std::string& operation : permit.operations) out.add_operations(operation);
  out.set_purpose(permit.purpose);
  out.mutable_not_before_time()->set_seconds(absl::ToUnixSeconds(permit.not_before));
  out.mutable_expire_time()->set_seconds(absl::ToUnixSeconds(permit.expires));
  out.set_request(permit.request);
  out.set_epoch(permit.epoch);
  out.set_max_rounds(permit.max_rounds);
  return out;
}

v1::Permit Shown(const PermitRow& row, absl::Time now) {
  v1::Permit out = row.permit;
  if (out.state() == v1::Permit::STATE_ACTIVE &&
      absl::ToUnixSeconds(now) >= out.expire_time().seconds()) {
    out.set_state(v1::Permit::STATE_EXPIRED);
  }
  return out;
}

absl::StatusOr<permit::TrustState> ToTrustState(const v1::TrustBundle& bundle, absl::Time fetched,
                                                absl::Duration max_age) {
  permit::TrustState out;
  out.issuer = bundle.issuer();
  ASSIGN_OR_RETURN(out.keys, crypto::ParseJwks(bundle.permit_keys_jwks()));
  out.revoked.insert(bundle.revoked_permits().begin(), bundle.revoked_permits().end());
  out.epoch = bundle.epoch();
  out.fetched = fetched;
  out.max_age = max_age;
  return out;
}

}  // namespace oncomesh::access
