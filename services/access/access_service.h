// SPDX-License-Identifier: Apache-2.0
// The gRPC side of access: each RPC is one line through the call guard. What differs between hub
// and node stands behind the interfaces given in the constructor.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "libs/base/clock.h"
#include "libs/rpc/call_guard.h"
#include "oncomesh/access/v1/access.grpc.pb.h"
#include "oncomesh/access/v1/enrolment.grpc.pb.h"
#include "oncomesh/access/v1/people.grpc.pb.h"
#include "oncomesh/access/v1/policy.grpc.pb.h"
#include "oncomesh/access/v1/trust.grpc.pb.h"
#include "services/access/enrolment.h"
#include "services/access/people.h"
#include "services/access/permit_office.h"
#include "services/access/policy_keeper.h"
#include "services/access/requests.h"
#include "services/access/trust_keeper.h"
#include "services/access/trust_push.h"

namespace oncomesh::access {

class HubAccessService final : public v1::AccessService::Service {
 public:
  HubAccessService(rpc::CallGuard& guard, RequestBook& requests, PermitOffice& permits,
                   PushTrust push, base::Clock& clock)
      : guard_(guard),
        requests_(requests),
        permits_(permits),
        push_(std::move(push)),
        clock_(clock) {}

  grpc::Status CreateRequest(grpc::ServerContext*, const v1::CreateRequestRequest*,
                             v1::CreateRequestResponse*) override;
  grpc::Status GetRequest(grpc::ServerContext*, const v1::GetRequestRequest*,
                          v1::GetRequestResponse*) override;
  grpc::Status ListRequests(grpc::ServerContext*, const v1::ListRequestsRequest*,
                            v1::ListRequestsResponse*) override;
  grpc::Status WithdrawRequest(grpc::ServerContext*, const v1::WithdrawRequestRequest*,
                               v1::WithdrawRequestResponse*) override;
  grpc::Status Decide(grpc::ServerContext*, const v1::DecideRequest*, v1::DecideResponse*) override;
  grpc::Status GetPermit(grpc::ServerContext*, const v1::GetPermitRequest*,
                         v1::GetPermitResponse*) override;
  grpc::Status VerifyPermit(grpc::ServerContext*, const v1::VerifyPermitRequest*,
                            v1::VerifyPermitResponse*) override;
  grpc::Status RevokePermit(grpc::ServerContext*, const v1::RevokePermitRequest*,
                            v1::RevokePermitResponse*) override;

 private:
  rpc::CallGuard& guard_;
  RequestBook& requests_;
  PermitOffice& permits_;
  PushTrust push_;
  base::Clock& clock_;
};

// At a node: the hub is asked in the node's name; permits are judged here.
class NodeAccessService final : public v1::AccessService::Service {
 public:
  NodeAccessService(rpc::CallGuard& guard, v1::AccessService::StubInterface& hub,
                    TrustKeeper& trust, PolicyKeeper& policy, base::Clock& clock)
      : guard_(guard), hub_(hub), trust_(trust), policy_(policy), clock_(clock) {}

  grpc::Status GetRequest(grpc::ServerContext*, const v1::GetRequestRequest*,
                          v1::GetRequestResponse*) override;
  grpc::Status ListRequests(grpc::ServerContext*, const v1::ListRequestsRequest*,
                            v1::ListRequestsResponse*) override;
  grpc::Status Decide(grpc::ServerContext*, const v1::DecideRequest*, v1::DecideResponse*) override;
  grpc::Status VerifyPermit(grpc::ServerContext*, const v1::VerifyPermitRequest*,
                            v1::VerifyPermitResponse*) override;

 private:
  rpc::CallGuard& guard_;
  v1::AccessService::StubInterface& hub_;
  TrustKeeper& trust_;
  PolicyKeeper& policy_;
  base::Clock& clock_;
};

class PeopleServiceImpl final : public v1::PeopleService::Service {
 public:
  using Issue = std::function<absl::Status(const v1::IssueTokenRequest&, v1::IssueTokenResponse&)>;
  PeopleServiceImpl(rpc::CallGuard& guard, People& people, std::string site, Issue issue)
      : guard_(guard), people_(people), site_(std::move(site)), issue_(std::move(issue)) {}

  grpc::Status Authenticate(grpc::ServerContext*, const v1::AuthenticateRequest*,
                            v1::AuthenticateResponse*) override;
  grpc::Status IssueToken(grpc::ServerContext*, const v1::IssueTokenRequest*,
                          v1::IssueTokenResponse*) override;
  grpc::Status WhoAmI(grpc::ServerContext*, const v1::WhoAmIRequest*, v1::WhoAmIResponse*) override;

 private:
  rpc::CallGuard& guard_;
  People& people_;
  std::string site_;
  Issue issue_;
};

class EnrolmentServiceImpl final : public v1::EnrolmentService::Service {
 public:
  // `changed` is called after a node was suspended, let in again or removed.
  EnrolmentServiceImpl(rpc::CallGuard& guard, Enrolment& enrolment, std::function<void()> changed)
      : guard_(guard), enrolment_(enrolment), changed_(std::move(changed)) {}

  grpc::Status CreateInvitation(grpc::ServerContext*, const v1::CreateInvitationRequest*,
                                v1::CreateInvitationResponse*) override;
  grpc::Status Enrol(grpc::ServerContext*, const v1::EnrolRequest*, v1::EnrolResponse*) override;
  grpc::Status RenewCertificates(grpc::ServerContext*, const v1::RenewCertificatesRequest*,
                                 v1::RenewCertificatesResponse*) override;
  grpc::Status ListNodes(grpc::ServerContext*, const v1::ListNodesRequest*,
                         v1::ListNodesResponse*) override;
  grpc::Status SuspendNode(grpc::ServerContext*, const v1::SuspendNodeRequest*,
                           v1::SuspendNodeResponse*) override;
  grpc::Status ResumeNode(grpc::ServerContext*, const v1::ResumeNodeRequest*,
                          v1::ResumeNodeResponse*) override;
  grpc::Status RemoveNode(grpc::ServerContext*, const v1::RemoveNodeRequest*,
                          v1::RemoveNodeResponse*) override;

 private:
  rpc::CallGuard& guard_;
  Enrolment& enrolment_;
  std::function<void()> changed_;
};

class TrustServiceImpl final : public v1::TrustService::Service {
 public:
  // With the issuer a key of whom the asking site misses; usually none.
  using Get = std::function<absl::StatusOr<KeptBundle>(const std::string& missing_key_issuer)>;
  using Accept = std::function<absl::Status(const v1::TrustBundle&)>;
  TrustServiceImpl(rpc::CallGuard& guard, Get get, Accept accept)
      : guard_(guard), get_(std::move(get)), accept_(std::move(accept)) {}

  grpc::Status GetTrustBundle(grpc::ServerContext*, const v1::GetTrustBundleRequest*,
                              v1::GetTrustBundleResponse*) override;
  grpc::Status PushTrustBundle(grpc::ServerContext*, const v1::PushTrustBundleRequest*,
                               v1::PushTrustBundleResponse*) override;

 private:
  rpc::CallGuard& guard_;
  Get get_;
  Accept accept_;
};

class PolicyServiceImpl final : public v1::PolicyService::Service {
 public:
  PolicyServiceImpl(rpc::CallGuard& guard, PolicyKeeper& policy) : guard_(guard), policy_(policy) {}
  grpc::Status GetPolicy(grpc::ServerContext*, const v1::GetPolicyRequest*,
                         v1::GetPolicyResponse*) override;
  grpc::Status SetPolicy(grpc::ServerContext*, const v1::SetPolicyRequest*,
                         v1::SetPolicyResponse*) override;

 private:
  rpc::CallGuard& guard_;
  PolicyKeeper& policy_;
};

}  // namespace oncomesh::access
