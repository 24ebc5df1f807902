// SPDX-License-Identifier: Apache-2.0
#include "services/access/wire.h"

#include <grpcpp/grpcpp.h>

#include <algorithm>
#include <map>
#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "libs/base/clock.h"
#include "libs/base/error.h"
#include "libs/base/files.h"
#include "libs/base/log.h"
#include "libs/base/random.h"
#include "libs/base/status_macros.h"
#include "libs/rpc/channel.h"
#include "libs/rpc/identity.h"
#include "libs/rpc/status.h"
#include "libs/store/database.h"
#include "services/access/access_service.h"
#include "services/access/access_store.h"
#include "services/access/audit_log.h"
#include "services/access/audit_service.h"
#include "services/access/authority.h"
#include "services/access/enrolment.h"
#include "services/access/housekeeper.h"
#include "services/access/hub_clients.h"
#include "services/access/issuer_keys.h"
#include "services/access/node_membership.h"
#include "services/access/people.h"
#include "services/access/permit_office.h"
#include "services/access/policy_keeper.h"
#include "services/access/requests.h"
#include "services/access/trust_keeper.h"

namespace oncomesh::access {
namespace {

using config::v1::AccessConfig;

base::Clock& SystemTime() { return base::SystemClock::Get(); }

absl::Duration CertificateLife(const AccessConfig& config) {
  if (config.certificate_seconds() > 0) return absl::Seconds(config.certificate_seconds());
  return absl::Hours(24 * (config.certificate_days() == 0 ? 30 : config.certificate_days()));
}

// 0 is the default.
absl::Status NeedRange(absl::string_view name, int value, int least, int most) {
  if (value == 0 || (value >= least && value <= most)) return absl::OkStatus();
  return base::Error(absl::StatusCode::kInvalidArgument, "CONFIG_INVALID",
                     absl::StrCat(name, " is ", value, ", and must be ", least, " to ", most));
}

IdentityFolders Folders(const AccessConfig& config) {
  return IdentityFolders(config.identity_root(),
                         {config.services().begin(), config.services().end()});
}

rpc::CallGuard::Deps GuardDeps(const AccessConfig& config) {
  rpc::CallGuard::Deps deps;
  deps.site = config.service().site();
  deps.trust_domain = config.service().trust_domain();
  return deps;
}

class HubApp final : public rpc::App {
 public:
  static absl::StatusOr<std::unique_ptr<rpc::App>> Create(const AccessConfig& config) {
    std::unique_ptr<HubApp> app(new HubApp(config));
    RETURN_IF_ERROR(app->Init());
    return std::unique_ptr<rpc::App>(std::move(app));
  }

  std::vector<rpc::Served> services() override {
    return {{"oncomesh.access.v1.AccessService", &*access_},
            {"oncomesh.access.v1.PeopleService", &*people_service_},
            {"oncomesh.access.v1.EnrolmentService", &*enrolment_service_},
            {"oncomesh.access.v1.TrustService", &*trust_service_},
            {"oncomesh.audit.v1.AuditService", &*audit_service_}};
  }

  absl::Status Start() override {
    issuer_keys_->Start([this] { people_->Forget(); });
    housekeeper_.Start();
    return absl::OkStatus();
  }

  void Drain() override {
    housekeeper_.Stop();
    issuer_keys_->Stop();
  }

 private:
  explicit HubApp(const AccessConfig& config)
      : config_(config),
        folders_(Folders(config)),
        // The relay starts after this service, so it is told until it has heard.
        housekeeper_({.push = [this] { return enrolment_->PushSuspended(); },
                      .renew = [this] { return RenewOwn(); },
                      .look_again = [this] { return folders_.LookAgain(); }}) {}

  absl::Status Init() {
    const std::string& state = config_.service().state_dir();
    if (config_.certificate_seconds() > 0 && config_.service().production()) {
      return base::Error(absl::StatusCode::kInvalidArgument, "CONFIG_INVALID",
                         "certificateSeconds is for drills; use certificateDays");
    }
    ASSIGN_OR_RETURN(Authority authority,
                     Authority::Open(state + "/authority", config_.service().trust_domain(),
                                     CertificateLife(config_), SystemTime()));
    authority_.emplace(std::move(authority));
    RETURN_IF_ERROR(RenewOwn());
    ASSIGN_OR_RETURN(store_,
                     AccessStore::Open(store::UrlOf(config_.service().database(),
                                                    config_.service().state_dir(), "access"),
                                       config_.service().database_password_file()));
    RETURN_IF_ERROR(store_->RaiseEpochTo(config_.minimum_epoch()));
    ASSIGN_OR_RETURN(log_,
                     AuditLog::Open(state, config_.service().trust_domain(), "hub", SystemTime()));
    if (config_.local_issuer().enabled()) {
      ASSIGN_OR_RETURN(issuer_, LocalIssuer::Open(config_.local_issuer(), state,
                                                  config_.service().production(), SystemTime()));
    }
    ASSIGN_OR_RETURN(issuer_keys_,
                     IssuerKeys::Open(config_.issuers(), state, config_.service().production(),
                                      {.clock = SystemTime()}));
    PeopleIssuers issuers = [this]() -> absl::StatusOr<std::vector<v1::PeopleIssuer>> {
      std::vector<v1::PeopleIssuer> all = issuer_keys_->Issuers();
      if (issuer_ != nullptr) all.push_back(issuer_->Describe());
      return all;
    };
    people_.emplace(config_.people(), issuers, SystemTime(),
                    [this](const std::string& issuer) { return issuer_keys_->Refresh(issuer); });
    ASSIGN_OR_RETURN(
        crypto::PrivateKey permit_key,
        crypto::PrivateKey::LoadOrGenerate(state + "/permit.key", crypto::KeyType::kEd25519));
    permits_.emplace(PermitOffice::Deps{*store_, SystemTime(), base::SystemRandom::Get(),
                                        config_.service().trust_domain(), std::move(permit_key),
                                        issuers});
    relay_ = MakeRelayControl(config_);
    requests_.emplace(RequestBook::Deps{
        *store_, SystemTime(), base::SystemRandom::Get(), MakeDatasetLookup(config_),
        [this](const v1::Request& request, const std::vector<std::string>& datasets) {
          return permits_->Sign(request, datasets);
        }});
    enrolment_.emplace(Enrolment::Deps{*store_, *authority_, *relay_, SystemTime(),
                                       base::SystemRandom::Get(), config_.service().trust_domain(),
                                       config_.front_door_address(),
                                       [this] { housekeeper_.Wake(); }});
    PushTrust push = MakePushTrust(*store_, *relay_, MakeSendTrust(config_));
    rpc::CallGuard::Deps deps = GuardDeps(config_);
    deps.authenticator = &*people_;
    deps.auditor = log_.get();
    guard_.emplace(deps);
    access_.emplace(*guard_, *requests_, *permits_, push, SystemTime());
    people_service_.emplace(
        *guard_, *people_, "hub",
        [this](const v1::IssueTokenRequest& q, v1::IssueTokenResponse& r) -> absl::Status {
          if (issuer_ == nullptr) {
            return base::Error(absl::StatusCode::kFailedPrecondition, "NO_LOCAL_ISSUER",
                               "this mesh has no local issuer; sign in with its identity provider");
          }
          ASSIGN_OR_RETURN(LocalIssuer::Issued issued, issuer_->Issue(q.credential()));
          r.set_token(issued.token);
          r.mutable_expire_time()->set_seconds(absl::ToUnixSeconds(issued.expires));
          return absl::OkStatus();
        });
    enrolment_service_.emplace(*guard_, *enrolment_, [this, push] {
      absl::StatusOr<v1::TrustBundle> bundle = permits_->Bundle();
      std::vector<std::string> told, missing;
      absl::Status status = bundle.ok() ? push(*bundle, told, missing) : bundle.status();
      // They pull it soon.
      if (!status.ok()) base::LogError("trust.push_failed", status);
    });
    trust_service_.emplace(
        *guard_,
        [this](const std::string& missing_key_issuer) -> absl::StatusOr<KeptBundle> {
          if (!missing_key_issuer.empty()) issuer_keys_->Refresh(missing_key_issuer);
          ASSIGN_OR_RETURN(v1::TrustBundle bundle, permits_->Bundle());
          return KeptBundle{bundle, SystemTime().Now()};
        },
        [](const v1::TrustBundle&) {
          return base::Error(absl::StatusCode::kFailedPrecondition, "EPOCH_ROLLBACK",
                             "the hub makes the bundle; it takes none");
        });
    audit_service_.emplace(*guard_, *log_);
    return absl::OkStatus();
  }

  absl::Status RenewOwn() {
    if (!folders_.NeedRenewal(SystemTime().Now())) return absl::OkStatus();
    std::vector<v1::ServiceCertificate> certificates;
    ASSIGN_OR_RETURN(std::vector<v1::SigningRequest> prepared, folders_.Prepare());
    for (const v1::SigningRequest& request : prepared) {
      v1::ServiceCertificate certificate;
      certificate.set_service(request.service());
      ASSIGN_OR_RETURN(
          *certificate.mutable_certificate_pem(),
          authority_->Issue(rpc::ServicePath("hub", request.service()), request.csr_pem()));
      certificates.push_back(std::move(certificate));
    }
    return folders_.Install(certificates, authority_->certificate_pem());
  }

  const AccessConfig config_;
  IdentityFolders folders_;
  std::optional<Authority> authority_;
  std::unique_ptr<AccessStore> store_;
  std::unique_ptr<AuditLog> log_;
  std::unique_ptr<LocalIssuer> issuer_;
  std::unique_ptr<IssuerKeys> issuer_keys_;
  std::optional<People> people_;
  std::optional<PermitOffice> permits_;
  std::unique_ptr<RelayControl> relay_;
  std::optional<RequestBook> requests_;
  std::optional<Enrolment> enrolment_;
  std::optional<rpc::CallGuard> guard_;
  std::optional<HubAccessService> access_;
  std::optional<PeopleServiceImpl> people_service_;
  std::optional<EnrolmentServiceImpl> enrolment_service_;
  std::optional<TrustServiceImpl> trust_service_;
  std::optional<AuditServiceImpl> audit_service_;
  Housekeeper housekeeper_;  // last, for its thread uses the others
};

class NodeApp final : public rpc::App {
 public:
  static absl::StatusOr<std::unique_ptr<rpc::App>> Create(const AccessConfig& config) {
    std::unique_ptr<NodeApp> app(new NodeApp(config));
    RETURN_IF_ERROR(app->Init());
    return std::unique_ptr<rpc::App>(std::move(app));
  }

  std::vector<rpc::Served> services() override {
    return {{"oncomesh.access.v1.AccessService", &*access_},
            {"oncomesh.access.v1.PeopleService", &*people_service_},
            {"oncomesh.access.v1.TrustService", &*trust_service_},
            {"oncomesh.access.v1.PolicyService", &*policy_service_},
            {"oncomesh.audit.v1.AuditService", &*audit_service_}};
  }

  absl::Status Start() override {
    const int seconds = config_.trust_pull_seconds() == 0 ? 5 : config_.trust_pull_seconds();
    trust_->Start(
        absl::Seconds(seconds), [this] { return PullTrust(""); }, [this] { people_->Forget(); });
    membership_.StartRenewal([this](const v1::RenewCertificatesRequest& request)
                                 -> absl::StatusOr<v1::RenewCertificatesResponse> {
      grpc::ClientContext context;
      rpc::SetDeadline(context, absl::Seconds(30));
      v1::RenewCertificatesResponse response;
      RETURN_IF_ERROR(
          rpc::FromGrpc(hub_enrolment_->RenewCertificates(&context, request, &response)));
      return response;
    });
    return absl::OkStatus();
  }

  void Drain() override {
    trust_->Stop();
    membership_.Stop();
  }

 private:
  explicit NodeApp(const AccessConfig& config)
      : config_(config), membership_(Folders(config), SystemTime()) {}

  absl::Status Init() {
    const std::string& state = config_.service().state_dir();
    const std::string& site = config_.service().site();
    RETURN_IF_ERROR(membership_.EnrolOnce(
        site, config_.service().trust_domain(), config_.invitation_file(),
        [this](const InvitationToken& invitation, const v1::EnrolRequest& request) {
          return SendEnrol(invitation, request);
        }));
    ASSIGN_OR_RETURN(log_,
                     AuditLog::Open(state, config_.service().trust_domain(), site, SystemTime()));
    ASSIGN_OR_RETURN(policy_, PolicyKeeper::Open(config_.policy_file()));
    ASSIGN_OR_RETURN(trust_, TrustKeeper::Open(state, SystemTime(), [this] {
                       return absl::Seconds(policy_->Get().max_trust_age_seconds());
                     }));
    auto hub = rpc::Connect({.target = config_.service().relay_address(),
                             .identity_dir = config_.identity_root() + "/access",
                             .trust_domain = config_.service().trust_domain(),
                             .peer = rpc::ServicePath(site, "relay"),
                             .node = ""});
    hub_access_ = v1::AccessService::NewStub(hub);
    hub_people_ = v1::PeopleService::NewStub(hub);
    hub_trust_ = v1::TrustService::NewStub(hub);
    hub_enrolment_ = v1::EnrolmentService::NewStub(hub);
    people_.emplace(
        config_.people(),
        [this]() -> absl::StatusOr<std::vector<v1::PeopleIssuer>> {
          ASSIGN_OR_RETURN(KeptBundle kept, trust_->Get());
          return std::vector<v1::PeopleIssuer>(kept.bundle.people_issuers().begin(),
                                               kept.bundle.people_issuers().end());
        },
        SystemTime(), [this](const std::string& issuer) { return FindKeys(issuer); });
    rpc::CallGuard::Deps deps = GuardDeps(config_);
    deps.authenticator = &*people_;
    deps.auditor = log_.get();
    guard_.emplace(deps);
    access_.emplace(*guard_, *hub_access_, *trust_, *policy_, SystemTime());
    people_service_.emplace(*guard_, *people_, site,
                            [this](const v1::IssueTokenRequest& q, v1::IssueTokenResponse& r) {
                              grpc::ClientContext context;
                              rpc::SetDeadline(context, absl::Seconds(10));
                              return rpc::FromGrpc(hub_people_->IssueToken(&context, q, &r));
                            });
    trust_service_.emplace(
        *guard_, [this](const std::string&) { return trust_->Get(); },
        [this](const v1::TrustBundle& bundle) { return trust_->Accept(bundle); });
    policy_service_.emplace(*guard_, *policy_);
    audit_service_.emplace(*guard_, *log_);
    return absl::OkStatus();
  }

  absl::StatusOr<v1::TrustBundle> PullTrust(const std::string& missing_key_issuer) {
    grpc::ClientContext context;
    // The hub may have to ask the issuer first.
    rpc::SetDeadline(context, absl::Seconds(missing_key_issuer.empty() ? 10 : 25));
    v1::GetTrustBundleRequest request;
    request.set_missing_key_issuer(missing_key_issuer);
    v1::GetTrustBundleResponse response;
    RETURN_IF_ERROR(rpc::FromGrpc(hub_trust_->GetTrustBundle(&context, request, &response)));
    return response.bundle();
  }

  // Asks the hub for the newer keys of an issuer that is in the bundle.
  bool FindKeys(const std::string& issuer) {
    {
      base::MutexLock lock(mutex_);
      absl::Time& asked = keys_asked_.try_emplace(issuer, absl::InfinitePast()).first->second;
      if (SystemTime().Now() < asked + IssuerKeys::kSoonestRefresh) return false;
      asked = SystemTime().Now();
    }
    absl::StatusOr<v1::TrustBundle> bundle = PullTrust(issuer);
    if (!bundle.ok()) return false;
    // A bundle that could not be written down is in force nevertheless; what is wrong with the disk
    // the next pull says.
    absl::Status taken = trust_->Accept(*bundle);
    return taken.ok() || base::ReasonOf(taken) != "EPOCH_ROLLBACK";
  }

  // Before the node has a certificate there is one way in: the hub's front door, as anybody.
  absl::StatusOr<v1::EnrolResponse> SendEnrol(const InvitationToken& invitation,
                                              const v1::EnrolRequest& request) {
    const std::string ca = config_.service().state_dir() + "/invitation-ca.crt";
    RETURN_IF_ERROR(base::WriteFileAtomically(ca, invitation.ca_pem));
    ASSIGN_OR_RETURN(auto channel,
                     rpc::ConnectFrontDoor(invitation.front_door, ca,
                                           rpc::FrontDoorUri(invitation.trust_domain, "hub"), ""));
    auto stub = v1::EnrolmentService::NewStub(channel);
    grpc::ClientContext context;
    context.set_wait_for_ready(true);
    rpc::SetDeadline(context, absl::Seconds(60));
    v1::EnrolResponse response;
    RETURN_IF_ERROR(rpc::FromGrpc(stub->Enrol(&context, request, &response)));
    return response;
  }

  const AccessConfig config_;
  NodeMembership membership_;
  std::unique_ptr<AuditLog> log_;
  std::unique_ptr<PolicyKeeper> policy_;
  std::unique_ptr<TrustKeeper> trust_;
  std::unique_ptr<v1::AccessService::Stub> hub_access_;
  std::unique_ptr<v1::PeopleService::Stub> hub_people_;
  std::unique_ptr<v1::TrustService::Stub> hub_trust_;
  std::unique_ptr<v1::EnrolmentService::Stub> hub_enrolment_;
  std::optional<People> people_;
  std::optional<rpc::CallGuard> guard_;
  std::optional<NodeAccessService> access_;
  std::optional<PeopleServiceImpl> people_service_;
  std::optional<TrustServiceImpl> trust_service_;
  std::optional<PolicyServiceImpl> policy_service_;
  std::optional<AuditServiceImpl> audit_service_;
  base::Mutex mutex_;
  std::map<std::string, absl::Time> keys_asked_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace

absl::StatusOr<std::unique_ptr<rpc::App>> Wire(const AccessConfig& config, rpc::Role role) {
  RETURN_IF_ERROR(NeedRange("certificateDays", config.certificate_days(), 1, 90));
  RETURN_IF_ERROR(NeedRange("certificateSeconds", config.certificate_seconds(), 20, 86'400));
  RETURN_IF_ERROR(NeedRange("trustPullSeconds", config.trust_pull_seconds(), 1, 300));
  if (config.identity_root().empty() || config.services().empty()) {
    return base::Error(absl::StatusCode::kInvalidArgument, "CONFIG_INVALID",
                       "identityRoot and services must be set");
  }
  if (config.service().identity_dir() != config.identity_root() + "/access") {
    return base::Error(absl::StatusCode::kInvalidArgument, "CONFIG_INVALID",
                       "service.identityDir must be identityRoot/access");
  }
  if (role == rpc::Role::kHub &&
      config.issuers_size() + (config.local_issuer().enabled() ? 1 : 0) > 1) {
    return base::Error(absl::StatusCode::kInvalidArgument, "CONFIG_INVALID",
                       "a mesh takes people from one issuer: roles, requests and permits name "
                       "people by the issuer's subjects, and two issuers can give the same subject "
                       "to two people; leave one of `issuers` and localIssuer (an identity broker "
                       "can join several providers into one issuer)");
  }
  return role == rpc::Role::kHub ? HubApp::Create(config) : NodeApp::Create(config);
}

}  // namespace oncomesh::access
