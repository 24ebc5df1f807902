// SPDX-License-Identifier: Apache-2.0
// Who gets past a handshake: real mutual TLS on loopback with certificates of one authority.
#include "libs/rpc/identity.h"

#include <grpcpp/grpcpp.h>

#include <catch2/catch.hpp>
#include <memory>
#include <string>

#include "libs/base/log.h"
#include "libs/rpc/channel.h"
#include "libs/rpc/status.h"
#include "libs/rpc/testing_authority.h"
#include "libs/testing/status_matchers.h"
#include "oncomesh/access/v1/people.grpc.pb.h"

namespace oncomesh::rpc {
namespace {

struct People final : access::v1::PeopleService::Service {
  grpc::Status WhoAmI(grpc::ServerContext*, const access::v1::WhoAmIRequest*,
                      access::v1::WhoAmIResponse* response) override {
    ++reached;
    response->set_subject("reached");
    return grpc::Status::OK;
  }
  std::atomic<int> reached = 0;
};

TEST_CASE("identity: a client is judged in the handshake by the path in its certificate") {
  AllowOnlyTls13();
  base::SetLogLevel(base::Level::kError);
  TestingAuthority authority;
  People people;
  grpc::ServerBuilder builder;
  int port = 0;
  builder.AddListeningPort("127.0.0.1:0",
                           IdentityServerCredentials(
                               authority.Identity("spiffe://test/node/lisbon/catalogue"), "test",
                               [](absl::string_view path) { return NodeOfPath(path) == "lisbon"; }),
                           &port);
  builder.RegisterService(&people);
  auto server = builder.BuildAndStart();
  REQUIRE(server != nullptr);
  auto call = [&](const std::string& uri) {
    auto channel = Connect({.target = "127.0.0.1:" + std::to_string(port),
                            .identity_dir = authority.Identity(uri),
                            .trust_domain = "test",
                            .peer = "node/lisbon/catalogue",
                            .node = ""});
    grpc::ClientContext context;
    SetDeadline(context, absl::Seconds(10));
    access::v1::WhoAmIResponse response;
    return FromGrpc(access::v1::PeopleService::NewStub(channel)->WhoAmI(
        &context, access::v1::WhoAmIRequest(), &response));
  };
  REQUIRE_OK(call("spiffe://test/node/lisbon/relay"));
  REQUIRE_OK(call("spiffe://test/node/lisbon/training"));
  CHECK(people.reached == 2);
  for (const char* uri : {"spiffe://test/node/porto/relay", "spiffe://test/hub/relay",
                          "spiffe://other/node/lisbon/relay", "spiffe://test/node/lisbon"}) {
    INFO(uri);
    CHECK(call(uri).code() == absl::StatusCode::kUnavailable);
  }
  CHECK(people.reached == 2);
  server->Shutdown();
}

TEST_CASE("identity: a person's program takes the front door of its site and no other") {
  AllowOnlyTls13();
  base::SetLogLevel(base::Level::kError);
  TestingAuthority authority;
  People people;
  grpc::ServerBuilder builder;
  int port = 0;
  const std::string identity = authority.Identity("spiffe://test/node/lisbon/relay");
  builder.AddListeningPort("127.0.0.1:0", IdentityServerCredentials(identity, Clients::kAnyone),
                           &port);
  builder.RegisterService(&people);
  auto server = builder.BuildAndStart();
  REQUIRE(server != nullptr);
  auto call = [&](const std::string& uri) {
    REQUIRE_VALUE(auto channel, ConnectFrontDoor("127.0.0.1:" + std::to_string(port),
                                                 identity + "/current/ca.crt", uri, "token"));
    grpc::ClientContext context;
    SetDeadline(context, absl::Seconds(10));
    access::v1::WhoAmIResponse response;
    return FromGrpc(access::v1::PeopleService::NewStub(channel)->WhoAmI(
        &context, access::v1::WhoAmIRequest(), &response));
  };
  REQUIRE_OK(call(FrontDoorUri("test", "lisbon")));
  // All of them have certificates of the same authority; a node is not to get the hub's tokens.
  for (const std::string& uri : {FrontDoorUri("test", "hub"), FrontDoorUri("test", "porto"),
                                 FrontDoorUri("other", "lisbon"), std::string()}) {
    INFO(uri);
    CHECK(call(uri).code() == absl::StatusCode::kUnavailable);
  }
  CHECK(people.reached == 1);
  CHECK(FrontDoorDnsName("test", "hub/relay") == "hub.test");
  CHECK(FrontDoorDnsName("test", "node/lisbon/relay") == "lisbon.node.test");
  CHECK(FrontDoorDnsName("test", "node/lisbon/access").empty());
  CHECK(FrontDoorDnsName("test", "hub/access").empty());
  server->Shutdown();
}

}  // namespace
}  // namespace oncomesh::rpc
