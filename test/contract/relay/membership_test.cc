// SPDX-License-Identifier: Apache-2.0
// Keys of an earlier membership of a name, over real TLS.
#include <grpcpp/grpcpp.h>

#include <catch2/catch.hpp>
#include <map>
#include <memory>
#include <string>

#include "absl/time/clock.h"
#include "libs/rpc/channel.h"
#include "libs/rpc/status.h"
#include "libs/testing/status_matchers.h"
#include "oncomesh/relay/v1/relay.grpc.pb.h"
#include "services/relay/testing/test_mesh.h"

namespace oncomesh::relay::testing {
namespace {

// The node's certificates of a TestMesh are dated an hour back.
absl::Status CertificatesFrom(TestMesh& mesh, absl::Time from) {
  auto stub = relay::v1::RelayService::NewStub(mesh.Channel(
      mesh.hub().ports().services, mesh.authority().Identity("hub/access"), "hub/relay"));
  grpc::ClientContext context;
  rpc::SetDeadline(context, absl::Seconds(20));
  relay::v1::SetSuspendedRequest request;
  relay::v1::SetSuspendedResponse response;
  request.set_epoch(1);
  (*request.mutable_certificates_from())["lisbon"] = absl::ToUnixSeconds(from);
  return rpc::FromGrpc(stub->SetSuspended(&context, request, &response));
}

absl::Status Say(const std::shared_ptr<grpc::Channel>& channel) {
  grpc::ClientContext context;
  rpc::SetDeadline(context, absl::Seconds(20));
  echo::v1::SayResponse response;
  return rpc::FromGrpc(
      echo::v1::EchoService::NewStub(channel)->Say(&context, echo::v1::SayRequest(), &response));
}

TEST_CASE("relay: a node is let in by a certificate that is new enough, and by no other") {
  TestMesh mesh;
  auto channel = mesh.Channel(mesh.hub().ports().nodes,
                              mesh.authority().Identity("node/lisbon/relay"), "hub/relay");
  REQUIRE_OK(CertificatesFrom(mesh, absl::Now() - absl::Hours(2)));
  REQUIRE_OK(Say(channel));
  REQUIRE_OK(Say(mesh.ToHub()));
  // On the same connection: what was let in once is judged with every call.
  REQUIRE_OK(CertificatesFrom(mesh, absl::Now() - absl::Minutes(30)));
  REQUIRE_REASON(Say(channel), absl::StatusCode::kPermissionDenied, "CERTIFICATE_REPLACED");
  CHECK_FALSE(Say(mesh.ToHub()).ok());
  REQUIRE_OK(CertificatesFrom(mesh, absl::Now() - absl::Hours(2)));
  REQUIRE_OK(Say(channel));
}

}  // namespace
}  // namespace oncomesh::relay::testing
