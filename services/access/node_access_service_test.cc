// SPDX-License-Identifier: Apache-2.0
// A node's access service over in-process channels, with the real guard; the hub is a recording.
#include <grpcpp/grpcpp.h>

#include <catch2/catch.hpp>
#include <memory>

#include "absl/strings/str_cat.h"
#include "libs/rpc/channel.h"
#include "libs/rpc/status.h"
#include "libs/testing/status_matchers.h"
#include "libs/testing/temporary_folder.h"
#include "services/access/access_service.h"

namespace oncomesh::access {
namespace {

using absl::StatusCode;

// People by token "<role>".
class ByRole final : public rpc::Authenticator {
 public:
  absl::StatusOr<rpc::Person> Authenticate(absl::string_view token) override {
    return rpc::Person{"somebody", {std::string(token)}, absl::InfiniteFuture()};
  }
};

class Hub final : public v1::AccessService::Service {
 public:
  grpc::Status GetRequest(grpc::ServerContext*, const v1::GetRequestRequest* q,
                          v1::GetRequestResponse* r) override {
    ++asked;
    r->mutable_request()->set_id(q->id());
    return grpc::Status::OK;
  }
  grpc::Status ListRequests(grpc::ServerContext*, const v1::ListRequestsRequest*,
                            v1::ListRequestsResponse* r) override {
    ++asked;
    r->add_requests()->set_id("req-1");
    return grpc::Status::OK;
  }
  grpc::Status Decide(grpc::ServerContext*, const v1::DecideRequest* q,
                      v1::DecideResponse*) override {
    ++asked;
    decided_by = q->decided_by();
    return grpc::Status::OK;
  }
  int asked = 0;
  std::string decided_by;
};

struct Node {
  Node() {
    grpc::ServerBuilder hub_builder;
    hub_builder.RegisterService(&hub);
    hub_server = hub_builder.BuildAndStart();
    hub_stub = v1::AccessService::NewStub(hub_server->InProcessChannel({}));
    REQUIRE_VALUE(trust, TrustKeeper::Open(folder.path(), clock));
    REQUIRE_VALUE(policy, PolicyKeeper::Open(folder / "policy.json"));
    rpc::CallGuard::Deps deps;
    deps.site = "north";
    deps.trust_domain = "mesh";
    deps.authenticator = &people;
    deps.peer = [this](const grpc::ServerContext& context) {
      rpc::Peer out;
      out.uris = {absl::StrCat("spiffe://mesh/", peer)};
      for (const auto& [key, value] : context.client_metadata()) {
        out.metadata.emplace(std::string(key.data(), key.size()),
                             std::string(value.data(), value.size()));
      }
      return out;
    };
    guard = std::make_unique<rpc::CallGuard>(deps);
    service = std::make_unique<NodeAccessService>(*guard, *hub_stub, *trust, *policy, clock);
    grpc::ServerBuilder builder;
    builder.RegisterService(service.get());
    server = builder.BuildAndStart();
    stub = v1::AccessService::NewStub(server->InProcessChannel({}));
  }
  ~Node() {
    server->Shutdown();
    hub_server->Shutdown();
  }

  template <typename Request, typename Response>
  absl::Status Call(grpc::Status (v1::AccessService::Stub::*method)(grpc::ClientContext*,
                                                                    const Request&, Response*),
                    const std::string& role) {
    grpc::ClientContext context;
    rpc::SetDeadline(context, absl::Seconds(20));
    if (!role.empty()) context.AddMetadata("authorization", absl::StrCat("Bearer ", role));
    Response response;
    return rpc::FromGrpc((stub.get()->*method)(&context, Request(), &response));
  }

  testing::TemporaryFolder folder;
  base::FakeClock clock;
  ByRole people;
  Hub hub;
  std::string peer = "node/north/relay";
  std::unique_ptr<TrustKeeper> trust;
  std::unique_ptr<PolicyKeeper> policy;
  std::unique_ptr<grpc::Server> hub_server, server;
  std::unique_ptr<v1::AccessService::Stub> hub_stub, stub;
  std::unique_ptr<rpc::CallGuard> guard;
  std::unique_ptr<NodeAccessService> service;
};

using Stub = v1::AccessService::Stub;

TEST_CASE("node access: its front door shows requests to the node's own staff alone") {
  Node node;
  for (const char* role : {"researcher", "committee", "stranger"}) {
    INFO(role);
    REQUIRE_REASON(node.Call(&Stub::GetRequest, role), StatusCode::kPermissionDenied,
                   "ROLE_NEEDED");
    REQUIRE_REASON(node.Call(&Stub::ListRequests, role), StatusCode::kPermissionDenied,
                   "ROLE_NEEDED");
  }
  CHECK(node.hub.asked == 0);
  for (const char* role : {"holder", "auditor", "operator"}) {
    INFO(role);
    REQUIRE_OK(node.Call(&Stub::GetRequest, role));
    REQUIRE_OK(node.Call(&Stub::ListRequests, role));
  }
  CHECK(node.hub.asked == 6);
}

TEST_CASE("node access: only a holder decides at a node, in their own name") {
  Node node;
  for (const char* role : {"researcher", "committee", "auditor", "operator"}) {
    INFO(role);
    REQUIRE_REASON(node.Call(&Stub::Decide, role), StatusCode::kPermissionDenied, "ROLE_NEEDED");
  }
  CHECK(node.hub.asked == 0);
  REQUIRE_OK(node.Call(&Stub::Decide, "holder"));
  CHECK(node.hub.decided_by == "somebody");
  // Another node's access service, which may ask the hub, has no business here.
  node.peer = "node/south/access";
  REQUIRE_REASON(node.Call(&Stub::ListRequests, ""), StatusCode::kPermissionDenied, "ROLE_NEEDED");
  CHECK(node.hub.asked == 1);
}

}  // namespace
}  // namespace oncomesh::access
