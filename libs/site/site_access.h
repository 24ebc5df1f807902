// SPDX-License-Identifier: Apache-2.0
// What every service needs of the access service of its own site: who a person is, whether a permit
// is good, what the node's policy says, and a place for audit events.
#pragma once

#include <grpcpp/channel.h>

#include <map>
#include <memory>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "libs/base/clock.h"
#include "libs/base/mutex.h"
#include "libs/permit/permit.h"
#include "libs/rpc/call_guard.h"
#include "oncomesh/access/v1/policy.pb.h"
#include "oncomesh/config/v1/service.pb.h"

namespace oncomesh::site {

// Any thread. Nothing here is kept longer than kFreshness, so a change at access is in force
// everywhere within that time.
class SiteAccess final : public rpc::Authenticator, public rpc::PermitChecker, public rpc::Auditor {
 public:
  static constexpr absl::Duration kFreshness = permit::kTrustKept;

  // `service` is the caller's own name, for its events.
  SiteAccess(const config::v1::ServiceConfig& config, absl::string_view service,
             base::Clock& clock);
  // The same over a given channel (tests).
  SiteAccess(std::shared_ptr<grpc::Channel> channel, std::string site, std::string service,
             base::Clock& clock);
  ~SiteAccess() override;

  // Errors: those of PeopleService.Authenticate; UNAVAILABLE (ACCESS_UNAVAILABLE).
  absl::StatusOr<rpc::Person> Authenticate(absl::string_view token) override;
  // Errors: those of permit::Check without datasets; UNAVAILABLE (ACCESS_UNAVAILABLE).
  absl::Status Check(const rpc::Caller& caller, absl::string_view operation,
                     absl::string_view permit) override;
  absl::Status Record(const rpc::CallEvent& event) override;

  // An event of the service's own: "training.task", with an object by its resource name and
  // attributes that are counts and names. Without an actor it is the service itself. No patient
  // value. Errors: those of rpc::Auditor::Record.
  absl::Status RecordOwn(rpc::CallEvent event);

  // By what permits are judged at this site. Errors: UNAVAILABLE (ACCESS_UNAVAILABLE,
  // TRUST_NOT_YET).
  absl::StatusOr<permit::TrustState> Trust();
  // The node's policy; at a node only. Errors: UNAVAILABLE (ACCESS_UNAVAILABLE).
  absl::StatusOr<access::v1::NodePolicy> Policy();

 private:
  struct Stubs;
  template <typename T>
  struct Kept {
    T value;
    absl::Time until;
  };

  absl::StatusOr<permit::TrustState> FetchTrust();

  const std::string site_;
  const std::string service_;
  base::Clock& clock_;
  std::unique_ptr<Stubs> stubs_;
  base::Mutex mutex_;
  std::map<std::string, Kept<rpc::Person>> people_ ABSL_GUARDED_BY(mutex_);  // by SHA-256 of token
  std::optional<Kept<permit::TrustState>> trust_ ABSL_GUARDED_BY(mutex_);
  std::optional<Kept<access::v1::NodePolicy>> policy_ ABSL_GUARDED_BY(mutex_);
  // Permits that were checked under the trust state in trust_, by digest of permit and use.
  std::map<std::string, absl::Time> permits_ ABSL_GUARDED_BY(mutex_);
};

// What the guard of a service asks, all of it at `site`.
rpc::CallGuard::Deps GuardDeps(const config::v1::ServiceConfig& config, SiteAccess& site);

}  // namespace oncomesh::site
