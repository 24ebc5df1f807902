// SPDX-License-Identifier: Apache-2.0
#include "libs/site/site_access.h"

#include <grpcpp/grpcpp.h>

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "libs/base/error.h"
#include "libs/base/random.h"
#include "libs/base/status_macros.h"
#include "libs/crypto/digest.h"
#include "libs/rpc/channel.h"
#include "libs/rpc/identity.h"
#include "libs/rpc/status.h"
#include "oncomesh/access/v1/people.grpc.pb.h"
#include "oncomesh/access/v1/policy.grpc.pb.h"
#include "oncomesh/access/v1/trust.grpc.pb.h"
#include "oncomesh/audit/v1/audit.grpc.pb.h"

namespace oncomesh::site {
namespace {

constexpr absl::Duration kTimeout = absl::Seconds(10);
constexpr size_t kMaxKept = 10'000;

template <typename Stub, typename Request, typename Response>
absl::StatusOr<Response> Call(Stub& stub,
                              grpc::Status (Stub::*method)(grpc::ClientContext*, const Request&,
                                                           Response*),
                              const Request& request) {
  grpc::ClientContext context;
  rpc::SetDeadline(context, kTimeout);
  Response response;
  absl::Status status = rpc::FromGrpc((stub.*method)(&context, request, &response));
  if (status.ok()) return response;
  if (status.code() == absl::StatusCode::kUnavailable && base::ErrorInfoOf(status).reason.empty()) {
    return base::Error(absl::StatusCode::kUnavailable, "ACCESS_UNAVAILABLE",
                       "the site's access service does not answer; nothing is allowed without it");
  }
  return status;
}

}  // namespace

struct SiteAccess::Stubs {
  explicit Stubs(const std::shared_ptr<grpc::Channel>& channel)
      : people(access::v1::PeopleService::NewStub(channel)),
        trust(access::v1::TrustService::NewStub(channel)),
        policy(access::v1::PolicyService::NewStub(channel)),
        audit(audit::v1::AuditService::NewStub(channel)) {}
  std::unique_ptr<access::v1::PeopleService::Stub> people;
  std::unique_ptr<access::v1::TrustService::Stub> trust;
  std::unique_ptr<access::v1::PolicyService::Stub> policy;
  std::unique_ptr<audit::v1::AuditService::Stub> audit;
};

SiteAccess::SiteAccess(const config::v1::ServiceConfig& config, absl::string_view service,
                       base::Clock& clock)
    : SiteAccess(rpc::Connect({.target = config.access_address(),
                               .identity_dir = config.identity_dir(),
                               .trust_domain = config.trust_domain(),
                               .peer = rpc::ServicePath(config.site(), "access"),
                               .node = ""}),
                 config.site(), std::string(service), clock) {}

SiteAccess::SiteAccess(std::shared_ptr<grpc::Channel> channel, std::string site,
                       std::string service, base::Clock& clock)
    : site_(std::move(site)),
      service_(std::move(service)),
      clock_(clock),
      stubs_(std::make_unique<Stubs>(channel)) {}

rpc::CallGuard::Deps GuardDeps(const config::v1::ServiceConfig& config, SiteAccess& site) {
  rpc::CallGuard::Deps deps;
  deps.site = config.site();
  deps.trust_domain = config.trust_domain();
  deps.authenticator = &site;
  deps.permits = &site;
  deps.auditor = &site;
  return deps;
}

SiteAccess::~SiteAccess() = default;

absl::StatusOr<rpc::Person> SiteAccess::Authenticate(absl::string_view token) {
  const std::string digest = crypto::Sha256Bytes(token);
  const absl::Time now = clock_.Now();
  {
    base::MutexLock lock(mutex_);
    auto it = people_.find(digest);
    if (it != people_.end() && now < it->second.until) return it->second.value;
  }
  access::v1::AuthenticateRequest request;
  request.set_token(std::string(token));
  ASSIGN_OR_RETURN(auto response,
                   Call(*stubs_->people, &access::v1::PeopleService::Stub::Authenticate, request));
  rpc::Person person;
  person.subject = response.subject();
  person.roles.assign(response.roles().begin(), response.roles().end());
  person.expires = absl::FromUnixSeconds(response.expire_time().seconds());
  base::MutexLock lock(mutex_);
  if (people_.size() >= kMaxKept) people_.clear();
  people_[digest] = {person, std::min(now + kFreshness, person.expires)};
  return person;
}

absl::StatusOr<permit::TrustState> SiteAccess::FetchTrust() {
  ASSIGN_OR_RETURN(auto response,
                   Call(*stubs_->trust, &access::v1::TrustService::Stub::GetTrustBundle,
                        access::v1::GetTrustBundleRequest()));
  permit::TrustState state;
  const access::v1::TrustBundle& bundle = response.bundle();
  state.issuer = bundle.issuer();
  ASSIGN_OR_RETURN(state.keys, crypto::ParseJwks(bundle.permit_keys_jwks()));
  state.revoked.insert(bundle.revoked_permits().begin(), bundle.revoked_permits().end());
  state.epoch = bundle.epoch();
  state.fetched = absl::FromUnixSeconds(response.fetch_time().seconds());
  state.max_age = absl::Minutes(5);
  if (site_ != "hub") {
    ASSIGN_OR_RETURN(access::v1::NodePolicy policy, Policy());
    state.max_age = absl::Seconds(policy.max_trust_age_seconds());
  }
  return state;
}

absl::StatusOr<permit::TrustState> SiteAccess::Trust() {
  const absl::Time now = clock_.Now();
  {
    base::MutexLock lock(mutex_);
    if (trust_.has_value() && now < trust_->until) return trust_->value;
  }
  ASSIGN_OR_RETURN(permit::TrustState state, FetchTrust());
  base::MutexLock lock(mutex_);
  // An answer that was slow to come must not take the place of a newer one.
  if (trust_.has_value() && now < trust_->until && state.epoch < trust_->value.epoch) {
    return trust_->value;
  }
  permits_.clear();
  trust_ = {state, now + kFreshness};
  return state;
}

absl::StatusOr<access::v1::NodePolicy> SiteAccess::Policy() {
  const absl::Time now = clock_.Now();
  {
    base::MutexLock lock(mutex_);
    if (policy_.has_value() && now < policy_->until) return policy_->value;
  }
  ASSIGN_OR_RETURN(auto response, Call(*stubs_->policy, &access::v1::PolicyService::Stub::GetPolicy,
                                       access::v1::GetPolicyRequest()));
  base::MutexLock lock(mutex_);
  policy_ = {response.policy(), now + kFreshness};
  return response.policy();
}

absl::Status SiteAccess::Check(const rpc::Caller& caller, absl::string_view operation,
                               absl::string_view permit) {
  const absl::Time now = clock_.Now();
  const std::string key =
      crypto::Sha256Bytes(absl::StrCat(caller.subject, "\n", operation, "\n", permit));
  {
    // A signature costs more than everything else of a call, so a permit that was good under the
    // trust state still in use is not verified again until it expires.
    base::MutexLock lock(mutex_);
    auto it = permits_.find(key);
    if (trust_.has_value() && now < trust_->until && it != permits_.end() && now < it->second) {
      return absl::OkStatus();
    }
  }
  ASSIGN_OR_RETURN(permit::TrustState state, Trust());
  permit::Use use{.person = caller.subject,
                  .operation = std::string(operation),
                  .datasets = {},
                  .node = "",
                  .now = now};
  ASSIGN_OR_RETURN(permit::Permit checked, permit::Check(permit, state, use));
  base::MutexLock lock(mutex_);
  // While it was checked another call may have learned of a revocation: then it is checked again.
  if (trust_.has_value() && trust_->value.epoch == state.epoch) {
    if (permits_.size() >= kMaxKept) permits_.clear();
    permits_[key] = checked.expires;
  }
  return absl::OkStatus();
}

absl::Status SiteAccess::Record(const rpc::CallEvent& call) {
  audit::v1::AppendRequest request;
  audit::v1::Event& event = *request.add_events();
  event = rpc::ToAuditEvent(call);
  event.set_event_id(base::NewUuid());
  return Call(*stubs_->audit, &audit::v1::AuditService::Stub::Append, request).status();
}

absl::Status SiteAccess::RecordOwn(rpc::CallEvent event) {
  if (event.actor.empty()) {
    event.actor = absl::StrCat("service:", rpc::ServicePath(site_, service_));
  }
  return Record(event);
}

}  // namespace oncomesh::site
