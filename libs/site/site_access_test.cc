// SPDX-License-Identifier: Apache-2.0
// What SiteAccess keeps of a checked permit, and when it must not: over an in-process channel to an
// access service that counts what it is asked.
#include "libs/site/site_access.h"

#include <grpcpp/grpcpp.h>

#include <atomic>
#include <catch2/catch.hpp>
#include <future>
#include <memory>
#include <string>
#include <thread>

#include "libs/crypto/jws.h"
#include "libs/crypto/keys.h"
#include "libs/testing/status_matchers.h"
#include "oncomesh/access/v1/policy.grpc.pb.h"
#include "oncomesh/access/v1/trust.grpc.pb.h"

namespace oncomesh::site {
namespace {

using absl::StatusCode;

struct Access {
  Access() {
    trust.access = policy.access = this;
    bundle.set_issuer("mesh");
    bundle.set_epoch(1);
    bundle.set_permit_keys_jwks(crypto::PrintJwks({{"k", key.Public()}}));
    grpc::ServerBuilder builder;
    builder.RegisterService(&trust);
    builder.RegisterService(&policy);
    server = builder.BuildAndStart();
    site = std::make_unique<SiteAccess>(server->InProcessChannel({}), "lisbon", "catalogue", clock);
  }
  ~Access() { server->Shutdown(); }

  struct Trust final : access::v1::TrustService::Service {
    grpc::Status GetTrustBundle(grpc::ServerContext*, const access::v1::GetTrustBundleRequest*,
                                access::v1::GetTrustBundleResponse* response) override {
      ++access->asked;
      *response->mutable_bundle() = access->bundle;
      response->mutable_fetch_time()->set_seconds(absl::ToUnixSeconds(access->clock.Now()));
      if (auto* arrived = access->arrived.exchange(nullptr)) {
        arrived->set_value();
        access->released.wait();
      }
      return access->down ? grpc::Status(grpc::StatusCode::UNAVAILABLE, "down") : grpc::Status::OK;
    }
    Access* access;
  };
  struct Policy final : access::v1::PolicyService::Service {
    grpc::Status GetPolicy(grpc::ServerContext*, const access::v1::GetPolicyRequest*,
                           access::v1::GetPolicyResponse* response) override {
      response->mutable_policy()->set_max_trust_age_seconds(60);
      return access->down ? grpc::Status(grpc::StatusCode::UNAVAILABLE, "down") : grpc::Status::OK;
    }
    Access* access;
  };

  std::string Permit(absl::Duration lasts = absl::Hours(1)) {
    permit::Permit permit;
    permit.id = "permit-1";
    permit.issuer = "mesh";
    permit.people = {"ana"};
    permit.datasets = {"nodes/lisbon/datasets/sarcoma/versions/1"};
    permit.purpose = "DUO:0000006";
    permit.operations = {"count"};
    permit.not_before = clock.Now() - absl::Hours(1);
    permit.expires = clock.Now() + lasts;
    permit.epoch = 1;
    permit.request = "request-1";
    REQUIRE_VALUE(std::string out, permit::Sign(permit, key, "k"));
    return out;
  }
  absl::Status Check(const std::string& subject, const std::string& permit,
                     const std::string& operation = "count") {
    rpc::Caller caller;
    caller.kind = rpc::Caller::Kind::kPerson;
    caller.subject = subject;
    return site->Check(caller, operation, permit);
  }

  base::FakeClock clock;
  crypto::PrivateKey key = crypto::PrivateKey::Generate(crypto::KeyType::kEd25519);
  access::v1::TrustBundle bundle;
  std::atomic<int> asked = 0;
  std::atomic<bool> down = false;
  // When set, the next answer about trust waits after it was made.
  std::atomic<std::promise<void>*> arrived = nullptr;
  std::future<void> released;
  Trust trust;
  Policy policy;
  std::unique_ptr<grpc::Server> server;
  std::unique_ptr<SiteAccess> site;
};

TEST_CASE("permits: a good one is checked without asking access again, but not for long") {
  Access access;
  const std::string permit = access.Permit();
  for (int i = 0; i < 5; ++i) REQUIRE_OK(access.Check("ana", permit));
  CHECK(access.asked == 1);
  access.clock.Advance(SiteAccess::kFreshness);
  REQUIRE_OK(access.Check("ana", permit));
  CHECK(access.asked == 2);
}

TEST_CASE("permits: a revoked one is refused as soon as what is kept has aged") {
  Access access;
  const std::string permit = access.Permit();
  REQUIRE_OK(access.Check("ana", permit));
  access.bundle.set_epoch(2);
  access.bundle.add_revoked_permits("permit-1");
  access.clock.Advance(SiteAccess::kFreshness);
  REQUIRE_REASON(access.Check("ana", permit), StatusCode::kPermissionDenied, "PERMIT_REVOKED");
  REQUIRE_REASON(access.Check("ana", permit), StatusCode::kPermissionDenied, "PERMIT_REVOKED");
}

TEST_CASE("permits: one that was good for a person is good for nobody else and nothing else") {
  Access access;
  const std::string permit = access.Permit();
  REQUIRE_OK(access.Check("ana", permit));
  REQUIRE_REASON(access.Check("eve", permit), StatusCode::kPermissionDenied,
                 "PERMIT_NOT_FOR_PERSON");
  REQUIRE_REASON(access.Check("ana", permit, "train"), StatusCode::kPermissionDenied,
                 "PERMIT_OPERATION_NOT_ALLOWED");
  std::string forged = permit;
  forged[forged.size() - 10] = forged[forged.size() - 10] == 'A' ? 'B' : 'A';
  CHECK_FALSE(access.Check("ana", forged).ok());
}

TEST_CASE("permits: one that ends while it is kept is refused from its end on") {
  Access access;
  const std::string permit = access.Permit(absl::Seconds(1));
  access.clock.Advance(absl::Milliseconds(800));
  REQUIRE_OK(access.Check("ana", permit));
  access.clock.Advance(absl::Milliseconds(200));
  REQUIRE_REASON(access.Check("ana", permit), StatusCode::kPermissionDenied, "PERMIT_EXPIRED");
  CHECK(access.asked == 1);
}

TEST_CASE("permits: nothing is good when access cannot be asked any more") {
  Access access;
  const std::string permit = access.Permit();
  REQUIRE_OK(access.Check("ana", permit));
  access.down = true;
  access.clock.Advance(SiteAccess::kFreshness);
  CHECK(access.Check("ana", permit).code() == StatusCode::kUnavailable);
}

TEST_CASE("trust: an answer that was slow to come does not take the place of a newer one") {
  Access access;
  std::promise<void> arrived, released;
  access.arrived = &arrived;
  access.released = released.get_future();
  std::thread slow([&] {
    REQUIRE_VALUE(permit::TrustState state, access.site->Trust());
    CHECK(state.epoch == 2);
  });
  arrived.get_future().wait();  // its answer of epoch 1 is made, and on its way
  access.bundle.set_epoch(2);
  access.bundle.add_revoked_permits("permit-1");
  REQUIRE_VALUE(permit::TrustState newer, access.site->Trust());
  CHECK(newer.epoch == 2);
  released.set_value();
  slow.join();
  REQUIRE_REASON(access.Check("ana", access.Permit()), StatusCode::kPermissionDenied,
                 "PERMIT_REVOKED");
}

}  // namespace
}  // namespace oncomesh::site
