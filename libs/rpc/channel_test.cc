// SPDX-License-Identifier: Apache-2.0
// What a channel makes again when nobody answered: calls that may be repeated, and no others.
#include "libs/rpc/channel.h"

#include <grpcpp/grpcpp.h>

#include <atomic>
#include <catch2/catch.hpp>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "libs/base/log.h"
#include "libs/rpc/identity.h"
#include "libs/rpc/retry.h"
#include "libs/rpc/status.h"
#include "libs/rpc/testing_authority.h"
#include "libs/testing/status_matchers.h"
#include "oncomesh/access/v1/enrolment.grpc.pb.h"
#include "oncomesh/training/v1/task.grpc.pb.h"

namespace oncomesh::rpc {
namespace {

using access::v1::CreateInvitationRequest;
using access::v1::CreateInvitationResponse;
using access::v1::ListNodesRequest;
using access::v1::ListNodesResponse;
using access::v1::SuspendNodeRequest;
using access::v1::SuspendNodeResponse;

// Refuses the first `refusals` calls as a service does that is just going away.
struct Nodes final : access::v1::EnrolmentService::Service {
  grpc::Status Answer() {
    ++calls;
    return calls > refusals ? grpc::Status::OK : grpc::Status(code, "not now");
  }
  grpc::Status ListNodes(grpc::ServerContext*, const ListNodesRequest*,
                         ListNodesResponse*) override {
    return Answer();
  }
  grpc::Status SuspendNode(grpc::ServerContext*, const SuspendNodeRequest*,
                           SuspendNodeResponse*) override {
    return Answer();
  }
  grpc::Status CreateInvitation(grpc::ServerContext*, const CreateInvitationRequest*,
                                CreateInvitationResponse*) override {
    return Answer();
  }
  std::atomic<int> calls = 0;
  int refusals = 0;
  grpc::StatusCode code = grpc::StatusCode::UNAVAILABLE;
};

struct Hub {
  Hub() {
    AllowOnlyTls13();
    base::SetLogLevel(base::Level::kError);
    Start();
    channel = Connect({.target = absl::StrCat("127.0.0.1:", port),
                       .identity_dir = authority.Identity("spiffe://test/hub/relay"),
                       .trust_domain = "test",
                       .peer = "hub/access",
                       .node = ""});
    stub = access::v1::EnrolmentService::NewStub(channel);
  }
  ~Hub() { server->Shutdown(); }
  void Start() {
    grpc::ServerBuilder builder;
    builder.AddListeningPort(
        absl::StrCat("127.0.0.1:", port),
        IdentityServerCredentials(authority.Identity("spiffe://test/hub/access"), "test",
                                  [](absl::string_view) { return true; }),
        &port);
    builder.RegisterService(&nodes);
    server = builder.BuildAndStart();
    REQUIRE(server != nullptr);
  }
  template <class Request, class Response>
  absl::Status Call(grpc::Status (access::v1::EnrolmentService::Stub::*method)(grpc::ClientContext*,
                                                                               const Request&,
                                                                               Response*),
                    absl::Duration timeout = absl::Seconds(20)) {
    grpc::ClientContext context;
    SetDeadline(context, timeout);
    Response response;
    return FromGrpc((stub.get()->*method)(&context, Request(), &response));
  }
  TestingAuthority authority;
  Nodes nodes;
  int port = 0;
  std::unique_ptr<grpc::Server> server;
  std::shared_ptr<grpc::Channel> channel;
  std::unique_ptr<access::v1::EnrolmentService::Stub> stub;
};

using Stub = access::v1::EnrolmentService::Stub;

TEST_CASE("channel: a call that may be repeated is made again, three times at most") {
  Hub hub;
  hub.nodes.refusals = 3;
  REQUIRE_OK(hub.Call(&Stub::ListNodes));
  CHECK(hub.nodes.calls == 4);
  hub.nodes.calls = 0;
  REQUIRE_OK(hub.Call(&Stub::SuspendNode));
  CHECK(hub.nodes.calls == 4);
  hub.nodes.calls = 0;
  hub.nodes.refusals = 4;
  CHECK(hub.Call(&Stub::ListNodes).code() == absl::StatusCode::kUnavailable);
  CHECK(hub.nodes.calls == 4);
}

TEST_CASE("channel: a call that may not be repeated is made once, as is one that was answered") {
  Hub hub;
  hub.nodes.refusals = 1;
  CHECK(hub.Call(&Stub::CreateInvitation).code() == absl::StatusCode::kUnavailable);
  CHECK(hub.nodes.calls == 1);
  for (auto code : {grpc::StatusCode::PERMISSION_DENIED, grpc::StatusCode::ABORTED,
                    grpc::StatusCode::RESOURCE_EXHAUSTED, grpc::StatusCode::INTERNAL,
                    grpc::StatusCode::DEADLINE_EXCEEDED}) {
    hub.nodes.calls = 0;
    hub.nodes.code = code;
    CHECK_FALSE(hub.Call(&Stub::ListNodes).ok());
    CHECK(hub.nodes.calls == 1);
  }
}

TEST_CASE("channel: a server that came back is found by the call that missed it") {
  Hub hub;
  REQUIRE_OK(hub.Call(&Stub::ListNodes));
  // The line is open at the client; what is behind it has changed.
  hub.server->Shutdown();
  hub.Start();
  REQUIRE_OK(hub.Call(&Stub::ListNodes));
}

TEST_CASE("channel: nobody waits beyond the deadline for another try") {
  Hub hub;
  hub.nodes.refusals = 1000;
  const absl::Time begin = absl::Now();
  CHECK_FALSE(hub.Call(&Stub::ListNodes, absl::Milliseconds(50)).ok());
  CHECK(absl::Now() - begin < absl::Seconds(5));
}

TEST_CASE("channel: a mesh that fails is not burdened with repeats") {
  Hub hub;
  hub.nodes.refusals = 1000;
  for (int i = 0; i < 20; ++i) CHECK_FALSE(hub.Call(&Stub::ListNodes).ok());
  CHECK(hub.nodes.calls < 40);  // 80 without the throttle
}

TEST_CASE("channel: the config names unary calls by what their protos say") {
  training::v1::AcquireTaskRequest::descriptor();  // links the task service in
  auto config = nlohmann::json::parse(RetryServiceConfig());
  auto names = config["methodConfig"][0]["name"];
  auto has = [&](const char* service, const char* method) {
    for (const auto& name : names) {
      if (name["service"] == service && name["method"] == method) return true;
    }
    return false;
  };
  CHECK(has("oncomesh.access.v1.EnrolmentService", "ListNodes"));
  CHECK(has("oncomesh.training.v1.TaskService", "SubmitMetrics"));
  CHECK_FALSE(has("oncomesh.access.v1.EnrolmentService", "CreateInvitation"));
  CHECK_FALSE(has("oncomesh.training.v1.TaskService", "ReportTaskFailed"));
  CHECK_FALSE(has("oncomesh.training.v1.TaskService", "UploadUpdate"));  // a stream
}

}  // namespace
}  // namespace oncomesh::rpc
