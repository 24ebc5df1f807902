// SPDX-License-Identifier: Apache-2.0
#include "services/access/access_service.h"

#include <algorithm>
#include <initializer_list>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/time/clock.h"
#include "libs/base/error.h"
#include "libs/base/status_macros.h"
#include "libs/permit/permit.h"
#include "libs/rpc/channel.h"
#include "libs/rpc/status.h"

namespace oncomesh::access {
namespace {

using grpc::ServerContext;
using grpc::Status;
using rpc::Caller;

constexpr char kAccess[] = "/oncomesh.access.v1.AccessService/";
constexpr char kPeople[] = "/oncomesh.access.v1.PeopleService/";
constexpr char kEnrolment[] = "/oncomesh.access.v1.EnrolmentService/";
constexpr char kTrust[] = "/oncomesh.access.v1.TrustService/";
constexpr char kPolicy[] = "/oncomesh.access.v1.PolicyService/";

// Runs `core`, which returns a StatusOr, and puts its value where `out` says.
template <typename T, typename Target>
absl::Status Into(absl::StatusOr<T> value, Target* out) {
  if (!value.ok()) return value.status();
  *out = *std::move(value);
  return absl::OkStatus();
}

// A call of the hub from a node, with the rest of the caller's own deadline.
template <typename Method, typename Request, typename Response>
absl::Status AskHub(ServerContext* context, Method method, const Request& request,
                    Response* response) {
  grpc::ClientContext outgoing;
  outgoing.set_deadline(context->deadline());
  return rpc::FromGrpc(method(&outgoing, request, response));
}

std::string Full(const char* service, const char* method) { return std::string(service) + method; }

// At a node the hub is asked in the node's name and shows whatever concerns the node, so the node
// itself must hold back what is not for everybody there.
absl::Status NeedNodeRole(const Caller& who, std::initializer_list<absl::string_view> roles) {
  if (who.kind == Caller::Kind::kPerson &&
      std::any_of(roles.begin(), roles.end(),
                  [&](absl::string_view role) { return who.HasRole(role); })) {
    return absl::OkStatus();
  }
  return base::Error(absl::StatusCode::kPermissionDenied, "ROLE_NEEDED",
                     absl::StrCat("at a node this needs the role ", absl::StrJoin(roles, " or "),
                                  "; an applicant sees their own requests at the hub's front door"),
                     {{"roles", absl::StrJoin(roles, ",")}});
}

}  // namespace

// --- Requests and permits at the hub

Status HubAccessService::CreateRequest(ServerContext* c, const v1::CreateRequestRequest* q,
                                       v1::CreateRequestResponse* r) {
  return guard_.Run(c, Full(kAccess, "CreateRequest").c_str(), *q,
                    [&](const Caller& who) -> absl::Status {
                      RETURN_IF_ERROR(Into(requests_.Create(who, *q), r->mutable_request()));
                      who.About(r->request().id());
                      return absl::OkStatus();
                    });
}
Status HubAccessService::GetRequest(ServerContext* c, const v1::GetRequestRequest* q,
                                    v1::GetRequestResponse* r) {
  return guard_.Run(c, Full(kAccess, "GetRequest").c_str(), *q, [&](const Caller& who) {
    return Into(requests_.Get(who, q->id()), r->mutable_request());
  });
}
Status HubAccessService::ListRequests(ServerContext* c, const v1::ListRequestsRequest* q,
                                      v1::ListRequestsResponse* r) {
  return guard_.Run(c, Full(kAccess, "ListRequests").c_str(), *q,
                    [&](const Caller& who) { return requests_.List(who, *q, *r); });
}
Status HubAccessService::WithdrawRequest(ServerContext* c, const v1::WithdrawRequestRequest* q,
                                         v1::WithdrawRequestResponse* r) {
  return guard_.Run(c, Full(kAccess, "WithdrawRequest").c_str(), *q, [&](const Caller& who) {
    return Into(requests_.Withdraw(who, q->id()), r->mutable_request());
  });
}
Status HubAccessService::Decide(ServerContext* c, const v1::DecideRequest* q,
                                v1::DecideResponse* r) {
  return guard_.Run(c, Full(kAccess, "Decide").c_str(), *q, [&](const Caller& who) -> absl::Status {
    RETURN_IF_ERROR(Into(requests_.Decide(who, *q), r->mutable_request()));
    if (!r->request().permit_id().empty()) who.Note("permit", r->request().permit_id());
    return absl::OkStatus();
  });
}
Status HubAccessService::GetPermit(ServerContext* c, const v1::GetPermitRequest* q,
                                   v1::GetPermitResponse* r) {
  return guard_.Run(c, Full(kAccess, "GetPermit").c_str(), *q,
                    [&](const Caller& who) -> absl::Status {
                      ASSIGN_OR_RETURN(PermitRow row, permits_.Get(who, q->id()));
                      *r->mutable_permit() = Shown(row, clock_.Now());
                      r->set_jws(row.jws);
                      return absl::OkStatus();
                    });
}
Status HubAccessService::VerifyPermit(ServerContext* c, const v1::VerifyPermitRequest* q,
                                      v1::VerifyPermitResponse* r) {
  return guard_.Run(
      c, Full(kAccess, "VerifyPermit").c_str(), *q, [&](const Caller&) -> absl::Status {
        const absl::Time now = clock_.Now();
        ASSIGN_OR_RETURN(v1::TrustBundle bundle, permits_.Bundle());
        ASSIGN_OR_RETURN(permit::TrustState trust, ToTrustState(bundle, now, absl::Minutes(1)));
        ASSIGN_OR_RETURN(permit::Permit claims, permit::CheckInForce(q->jws(), trust, now));
        *r->mutable_permit() = Shown(claims);
        return absl::OkStatus();
      });
}
Status HubAccessService::RevokePermit(ServerContext* c, const v1::RevokePermitRequest* q,
                                      v1::RevokePermitResponse* r) {
  return guard_.Run(c, Full(kAccess, "RevokePermit").c_str(), *q,
                    [&](const Caller& who) -> absl::Status {
                      ASSIGN_OR_RETURN(int64_t epoch, permits_.Revoke(q->id(), q->reason()));
                      ASSIGN_OR_RETURN(v1::TrustBundle bundle, permits_.Bundle());
                      std::vector<std::string> told, missing;
                      RETURN_IF_ERROR(push_(bundle, told, missing));
                      // A service of a node that was told may have asked just before.
                      absl::SleepFor(permit::kTrustKept);
                      r->mutable_nodes_told()->Add(told.begin(), told.end());
                      r->mutable_nodes_missing()->Add(missing.begin(), missing.end());
                      r->set_epoch(epoch);
                      who.Note("epoch", absl::StrCat(epoch));
                      ASSIGN_OR_RETURN(PermitRow row, permits_.Get(who, q->id()));
                      *r->mutable_permit() = Shown(row, clock_.Now());
                      return absl::OkStatus();
                    });
}

// --- The same at a node

Status NodeAccessService::GetRequest(ServerContext* c, const v1::GetRequestRequest* q,
                                     v1::GetRequestResponse* r) {
  return guard_.Run(
      c, Full(kAccess, "GetRequest").c_str(), *q, [&](const Caller& who) -> absl::Status {
        RETURN_IF_ERROR(NeedNodeRole(who, {"holder", "auditor", "operator"}));
        return AskHub(
            c, [&](auto* x, const auto& y, auto* z) { return hub_.GetRequest(x, y, z); }, *q, r);
      });
}
Status NodeAccessService::ListRequests(ServerContext* c, const v1::ListRequestsRequest* q,
                                       v1::ListRequestsResponse* r) {
  return guard_.Run(
      c, Full(kAccess, "ListRequests").c_str(), *q, [&](const Caller& who) -> absl::Status {
        RETURN_IF_ERROR(NeedNodeRole(who, {"holder", "auditor", "operator"}));
        return AskHub(
            c, [&](auto* x, const auto& y, auto* z) { return hub_.ListRequests(x, y, z); }, *q, r);
      });
}
Status NodeAccessService::Decide(ServerContext* c, const v1::DecideRequest* q,
                                 v1::DecideResponse* r) {
  return guard_.Run(c, Full(kAccess, "Decide").c_str(), *q, [&](const Caller& who) -> absl::Status {
    RETURN_IF_ERROR(NeedNodeRole(who, {"holder"}));
    v1::DecideRequest forwarded = *q;
    forwarded.set_decided_by(who.subject);
    return AskHub(
        c, [&](auto* x, const auto& y, auto* z) { return hub_.Decide(x, y, z); }, forwarded, r);
  });
}
Status NodeAccessService::VerifyPermit(ServerContext* c, const v1::VerifyPermitRequest* q,
                                       v1::VerifyPermitResponse* r) {
  return guard_.Run(
      c, Full(kAccess, "VerifyPermit").c_str(), *q, [&](const Caller&) -> absl::Status {
        ASSIGN_OR_RETURN(KeptBundle kept, trust_.Get());
        ASSIGN_OR_RETURN(permit::TrustState trust,
                         ToTrustState(kept.bundle, kept.fetched,
                                      absl::Seconds(policy_.Get().max_trust_age_seconds())));
        ASSIGN_OR_RETURN(permit::Permit claims,
                         permit::CheckInForce(q->jws(), trust, clock_.Now()));
        *r->mutable_permit() = Shown(claims);
        return absl::OkStatus();
      });
}

// --- People

Status PeopleServiceImpl::Authenticate(ServerContext* c, const v1::AuthenticateRequest* q,
                                       v1::AuthenticateResponse* r) {
  return guard_.Run(c, Full(kPeople, "Authenticate").c_str(), *q,
                    [&](const Caller&) -> absl::Status {
                      ASSIGN_OR_RETURN(rpc::Person person, people_.Authenticate(q->token()));
                      r->set_subject(person.subject);
                      r->mutable_roles()->Add(person.roles.begin(), person.roles.end());
                      r->mutable_expire_time()->set_seconds(absl::ToUnixSeconds(person.expires));
                      return absl::OkStatus();
                    });
}
Status PeopleServiceImpl::IssueToken(ServerContext* c, const v1::IssueTokenRequest* q,
                                     v1::IssueTokenResponse* r) {
  return guard_.Run(c, Full(kPeople, "IssueToken").c_str(), *q,
                    [&](const Caller&) { return issue_(*q, *r); });
}
Status PeopleServiceImpl::WhoAmI(ServerContext* c, const v1::WhoAmIRequest* q,
                                 v1::WhoAmIResponse* r) {
  return guard_.Run(c, Full(kPeople, "WhoAmI").c_str(), *q, [&](const Caller& who) {
    r->set_subject(who.kind == Caller::Kind::kPerson ? who.subject : who.service);
    r->mutable_roles()->Add(who.roles.begin(), who.roles.end());
    r->set_site(site_);
    return absl::OkStatus();
  });
}

// --- Membership of nodes

Status EnrolmentServiceImpl::CreateInvitation(ServerContext* c,
                                              const v1::CreateInvitationRequest* q,
                                              v1::CreateInvitationResponse* r) {
  return guard_.Run(
      c, Full(kEnrolment, "CreateInvitation").c_str(), *q, [&](const Caller& who) -> absl::Status {
        RETURN_IF_ERROR(enrolment_.Invite(*q, *r));
        who.Note("expires", absl::FormatTime(absl::RFC3339_sec,
                                             absl::FromUnixSeconds(r->expire_time().seconds()),
                                             absl::UTCTimeZone()));
        return absl::OkStatus();
      });
}
Status EnrolmentServiceImpl::Enrol(ServerContext* c, const v1::EnrolRequest* q,
                                   v1::EnrolResponse* r) {
  return guard_.Run(c, Full(kEnrolment, "Enrol").c_str(), *q,
                    [&](const Caller&) { return enrolment_.Enrol(*q, *r); });
}
Status EnrolmentServiceImpl::RenewCertificates(ServerContext* c,
                                               const v1::RenewCertificatesRequest* q,
                                               v1::RenewCertificatesResponse* r) {
  return guard_.Run(c, Full(kEnrolment, "RenewCertificates").c_str(), *q,
                    [&](const Caller& who) { return enrolment_.Renew(who, *q, *r); });
}
Status EnrolmentServiceImpl::ListNodes(ServerContext* c, const v1::ListNodesRequest* q,
                                       v1::ListNodesResponse* r) {
  return guard_.Run(c, Full(kEnrolment, "ListNodes").c_str(), *q,
                    [&](const Caller&) { return enrolment_.List(*r); });
}
Status EnrolmentServiceImpl::SuspendNode(ServerContext* c, const v1::SuspendNodeRequest* q,
                                         v1::SuspendNodeResponse* r) {
  return guard_.Run(c, Full(kEnrolment, "SuspendNode").c_str(), *q, [&](const Caller&) {
    absl::Status status = Into(enrolment_.Suspend(q->node(), q->reason()), r->mutable_node());
    if (status.ok()) changed_();
    return status;
  });
}
Status EnrolmentServiceImpl::ResumeNode(ServerContext* c, const v1::ResumeNodeRequest* q,
                                        v1::ResumeNodeResponse* r) {
  return guard_.Run(c, Full(kEnrolment, "ResumeNode").c_str(), *q, [&](const Caller&) {
    absl::Status status = Into(enrolment_.Resume(q->node()), r->mutable_node());
    if (status.ok()) changed_();
    return status;
  });
}
Status EnrolmentServiceImpl::RemoveNode(ServerContext* c, const v1::RemoveNodeRequest* q,
                                        v1::RemoveNodeResponse* r) {
  return guard_.Run(c, Full(kEnrolment, "RemoveNode").c_str(), *q, [&](const Caller&) {
    absl::Status status = Into(enrolment_.Remove(q->node()), r->mutable_node());
    if (status.ok()) changed_();
    return status;
  });
}

// --- Trust and policy

Status TrustServiceImpl::GetTrustBundle(ServerContext* c, const v1::GetTrustBundleRequest* q,
                                        v1::GetTrustBundleResponse* r) {
  return guard_.Run(c, Full(kTrust, "GetTrustBundle").c_str(), *q,
                    [&](const Caller&) -> absl::Status {
                      ASSIGN_OR_RETURN(KeptBundle kept, get_(q->missing_key_issuer()));
                      *r->mutable_bundle() = kept.bundle;
                      r->mutable_fetch_time()->set_seconds(absl::ToUnixSeconds(kept.fetched));
                      return absl::OkStatus();
                    });
}
Status TrustServiceImpl::PushTrustBundle(ServerContext* c, const v1::PushTrustBundleRequest* q,
                                         v1::PushTrustBundleResponse* r) {
  return guard_.Run(c, Full(kTrust, "PushTrustBundle").c_str(), *q,
                    [&](const Caller&) -> absl::Status {
                      RETURN_IF_ERROR(accept_(q->bundle()));
                      r->set_epoch(q->bundle().epoch());
                      return absl::OkStatus();
                    });
}
Status PolicyServiceImpl::GetPolicy(ServerContext* c, const v1::GetPolicyRequest* q,
                                    v1::GetPolicyResponse* r) {
  return guard_.Run(c, Full(kPolicy, "GetPolicy").c_str(), *q, [&](const Caller&) {
    *r->mutable_policy() = policy_.Get();
    return absl::OkStatus();
  });
}
Status PolicyServiceImpl::SetPolicy(ServerContext* c, const v1::SetPolicyRequest* q,
                                    v1::SetPolicyResponse* r) {
  return guard_.Run(c, Full(kPolicy, "SetPolicy").c_str(), *q,
                    [&](const Caller& who) -> absl::Status {
                      RETURN_IF_ERROR(policy_.Set(q->policy()));
                      *r->mutable_policy() = policy_.Get();
                      who.About("policy");
                      who.Note("trainers", absl::StrCat(r->policy().trainer_digests_size()));
                      who.Note("min_patients", absl::StrCat(r->policy().min_patients()));
                      return absl::OkStatus();
                    });
}

}  // namespace oncomesh::access
