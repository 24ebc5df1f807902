// SPDX-License-Identifier: Apache-2.0
// What happens when a side goes away, and who is let in.
#include <google/protobuf/util/json_util.h>
#include <grpcpp/create_channel.h>
#include <grpcpp/impl/client_unary_call.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <chrono>
#include <cstdlib>
#include <future>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "libs/base/files.h"
#include "libs/rpc/channel.h"
#include "libs/rpc/identity.h"
#include "libs/rpc/status.h"
#include "libs/testing/status_matchers.h"
#include "oncomesh/relay/v1/relay.grpc.pb.h"
#include "services/relay/testing/test_mesh.h"

namespace oncomesh::relay::testing {
namespace {

using echo::v1::ChatRequest;
using echo::v1::ChatResponse;
using echo::v1::SayRequest;
using echo::v1::SayResponse;
using std::chrono::steady_clock;
using Stub = echo::v1::EchoService::Stub;
using relay::v1::RelayService;

double MillisecondsSince(steady_clock::time_point start) {
  return std::chrono::duration<double, std::milli>(steady_clock::now() - start).count();
}

absl::Status Say(const std::shared_ptr<grpc::Channel>& channel,
                 const std::vector<std::pair<std::string, std::string>>& metadata = {},
                 int delay_ms = 0) {
  auto stub = echo::v1::EchoService::NewStub(channel);
  grpc::ClientContext context;
  rpc::SetDeadline(context, absl::Seconds(20));
  for (const auto& [key, value] : metadata) context.AddMetadata(key, value);
  SayRequest request;
  SayResponse response;
  request.set_delay_ms(delay_ms);
  return rpc::FromGrpc(stub->Say(&context, request, &response));
}

std::unique_ptr<RelayService::Stub> Control(TestMesh& mesh, const std::string& service) {
  return RelayService::NewStub(mesh.Channel(
      mesh.hub().ports().services, mesh.authority().Identity("hub/" + service), "hub/relay"));
}

absl::Status Suspend(TestMesh& mesh, const std::vector<std::string>& nodes, int64_t epoch) {
  grpc::ClientContext context;
  rpc::SetDeadline(context, absl::Seconds(20));
  relay::v1::SetSuspendedRequest request;
  relay::v1::SetSuspendedResponse response;
  for (const auto& node : nodes) request.add_nodes(node);
  request.set_epoch(epoch);
  return rpc::FromGrpc(Control(mesh, "access")->SetSuspended(&context, request, &response));
}

// A call that runs until it is told to end, from the hub to the node.
struct OpenChat {
  explicit OpenChat(const std::shared_ptr<grpc::Channel>& channel)
      : stub(echo::v1::EchoService::NewStub(channel)) {
    rpc::SetDeadline(context, absl::Seconds(60));
    stream = stub->Chat(&context);
    ChatResponse response;
    started = stream->Write(ChatRequest()) && stream->Read(&response);
  }
  absl::Status End() {
    ChatResponse response;
    while (stream->Read(&response)) {
    }
    return rpc::FromGrpc(stream->Finish());
  }
  std::unique_ptr<Stub> stub;
  grpc::ClientContext context;
  std::unique_ptr<grpc::ClientReaderWriter<ChatRequest, ChatResponse>> stream;
  bool started = false;
};

// The node's relay as a process of its own, which can be killed and frozen.
class NodeProcess {
 public:
  explicit NodeProcess(TestMesh& mesh) {
    const char* build = std::getenv("ONCOMESH_BINARY_DIR");
    std::string program = absl::StrCat(build == nullptr ? "." : build, "/bin/oncomesh-relay");
    std::string json;
    REQUIRE(google::protobuf::util::MessageToJsonString(mesh.node_config(), &json).ok());
    std::string file = mesh.folder() + "/node.json";
    REQUIRE_OK(base::WriteFileAtomically(file, json));
    std::string config = "--config=" + file;
    std::string role = "--role=node";
    char* arguments[] = {program.data(), role.data(), config.data(), nullptr};
    REQUIRE(posix_spawn(&pid_, program.c_str(), nullptr, nullptr, arguments, environ) == 0);
  }
  ~NodeProcess() {
    if (pid_ > 0) Kill();
  }
  void Kill() {
    Signal(SIGKILL);
    Wait();
  }
  void Signal(int number) { ::kill(pid_, number); }
  int Wait() {
    int status = 0;
    waitpid(pid_, &status, 0);
    pid_ = 0;
    return status;
  }

 private:
  pid_t pid_ = 0;
};

}  // namespace

TEST_CASE("relay: a node that is killed in a call gives UNAVAILABLE at once") {
  TestMesh::Options options;
  options.with_node = false;
  TestMesh mesh(options);
  NodeProcess node(mesh);
  REQUIRE(mesh.WaitForNode());
  OpenChat chat(mesh.ToNode());
  REQUIRE(chat.started);
  auto start = steady_clock::now();
  node.Kill();
  REQUIRE_REASON(chat.End(), absl::StatusCode::kUnavailable, "NODE_LEFT");
  CHECK(MillisecondsSince(start) < 2000);
  REQUIRE(mesh.WaitForNode(false));
  start = steady_clock::now();
  REQUIRE_REASON(Say(mesh.ToNode()), absl::StatusCode::kUnavailable, "NODE_NOT_CONNECTED");
  CHECK(MillisecondsSince(start) < 2000);
}

TEST_CASE("relay: a node that freezes in a call gives UNAVAILABLE when keepalive has run out") {
  TestMesh::Options options;
  options.with_node = false;
  options.keepalive_seconds = 2;
  options.keepalive_timeout_seconds = 2;
  TestMesh mesh(options);
  NodeProcess node(mesh);
  REQUIRE(mesh.WaitForNode());
  OpenChat chat(mesh.ToNode());
  REQUIRE(chat.started);
  auto start = steady_clock::now();
  node.Signal(SIGSTOP);
  REQUIRE_REASON(chat.End(), absl::StatusCode::kUnavailable, "NODE_LEFT");
  CHECK(MillisecondsSince(start) < 8000);
  node.Signal(SIGCONT);
  REQUIRE(mesh.WaitForNode());  // it notices, and dials again
  REQUIRE_OK(Say(mesh.ToNode()));
}

TEST_CASE("relay: SIGTERM lets calls end, then the process ends with 0") {
  TestMesh::Options options;
  options.with_node = false;
  TestMesh mesh(options);
  NodeProcess node(mesh);
  REQUIRE(mesh.WaitForNode());
  auto running = std::async(std::launch::async, [&] { return Say(mesh.ToNode(), {}, 700); });
  while (mesh.node_echo().running() == 0) std::this_thread::sleep_for(std::chrono::milliseconds(2));
  node.Signal(SIGTERM);
  int status = node.Wait();
  CHECK(WIFEXITED(status));
  CHECK(WEXITSTATUS(status) == 0);
  REQUIRE_OK(running.get());
}

TEST_CASE("relay: a node that does not exist is not connected") {
  TestMesh mesh;
  REQUIRE_REASON(Say(mesh.ToNode("training", "porto")), absl::StatusCode::kUnavailable,
                 "NODE_NOT_CONNECTED");
  REQUIRE_REASON(Say(mesh.ToNode("training", "")), absl::StatusCode::kInvalidArgument,
                 "NODE_NEEDED");
}

TEST_CASE("relay: a hub that restarts is found again, and a call in flight fails") {
  TestMesh mesh;
  OpenChat up(mesh.ToHub());
  REQUIRE(up.started);
  mesh.StopHub();
  // Cut by the going server, or cancelled by it just before.
  const absl::StatusCode up_code = up.End().code();
  CHECK((up_code == absl::StatusCode::kUnavailable || up_code == absl::StatusCode::kCancelled));
  REQUIRE_REASON(Say(mesh.ToHub()), absl::StatusCode::kUnavailable, "HUB_NOT_CONNECTED");
  mesh.StartHub();
  REQUIRE(mesh.WaitForNode());
  REQUIRE_OK(Say(mesh.ToNode()));
  REQUIRE_OK(Say(mesh.ToHub()));
}

TEST_CASE("relay: a node that drains ends the calls it has and takes no new ones") {
  TestMesh mesh;
  auto running = std::async(std::launch::async, [&] { return Say(mesh.ToNode(), {}, 800); });
  auto upward = std::async(std::launch::async, [&] { return Say(mesh.ToHub(), {}, 800); });
  while (mesh.node_echo().running() == 0 || mesh.hub_echo().running() == 0) {
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
  }
  std::thread drain([&] { mesh.node().Drain(); });
  std::this_thread::sleep_for(std::chrono::milliseconds(200));
  CHECK(Say(mesh.ToNode()).code() == absl::StatusCode::kUnavailable);
  REQUIRE_OK(running.get());
  auto start = steady_clock::now();
  // A call to the hub goes over the same connection; it ends before the hub ends that.
  absl::Status up = upward.get();
  INFO(up.ToString());
  CHECK(up.ok());
  drain.join();
  CHECK(MillisecondsSince(start) < 5000);
  REQUIRE(mesh.WaitForNode(false));
}

TEST_CASE("relay: a hub that drains ends the calls it has and takes no new ones") {
  TestMesh mesh;
  auto running = std::async(std::launch::async, [&] { return Say(mesh.ToNode(), {}, 800); });
  auto upward = std::async(std::launch::async, [&] { return Say(mesh.ToHub(), {}, 800); });
  while (mesh.node_echo().running() == 0 || mesh.hub_echo().running() == 0) {
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
  }
  auto channel = mesh.ToNode();
  std::thread drain([&] { mesh.hub().Drain(); });
  std::this_thread::sleep_for(std::chrono::milliseconds(200));
  CHECK(Say(channel).code() == absl::StatusCode::kUnavailable);
  REQUIRE_OK(running.get());
  REQUIRE_OK(upward.get());
  auto start = steady_clock::now();
  drain.join();
  CHECK(MillisecondsSince(start) < 5000);
}

TEST_CASE("relay: a drain does not wait for ever") {
  TestMesh::Options options;
  options.drain_seconds = 1;
  TestMesh mesh(options);
  OpenChat chat(mesh.ToNode());
  REQUIRE(chat.started);
  auto start = steady_clock::now();
  std::thread drain([&] { mesh.hub().Drain(); });
  CHECK(chat.End().code() == absl::StatusCode::kUnavailable);
  drain.join();
  CHECK(MillisecondsSince(start) < 6000);
}

TEST_CASE("relay: the receiver is told who called, and nobody can say it is another") {
  TestMesh mesh;
  std::vector<std::pair<std::string, std::string>> lies = {
      {"oncomesh-caller", "hub/access"},   {"oncomesh-caller", "node/porto/access"},
      {"oncomesh-session", "s"},           {"oncomesh-lane", "1"},
      {"oncomesh-anything-bin", "\x01"},   {"oncomesh-permit", "a.permit.of-mine"},
      {"authorization", "Bearer a-token"}, {"x-text", "kept"}};
  auto check = [&](EchoService& echo, const std::string& caller, bool token) {
    auto seen = echo.metadata();
    for (const auto& [key, value] : seen) {
      INFO(key << ": " << value);
      if (key == "oncomesh-caller") {
        CHECK(value == caller);
      } else {
        CHECK((key.rfind("oncomesh-", 0) != 0 || key == "oncomesh-permit"));
      }
    }
    CHECK(seen.count("oncomesh-caller") == (caller.empty() ? 0 : 1));
    CHECK(seen.count("oncomesh-permit") == 1);
    CHECK(seen.count("x-text") == 1);
    CHECK(seen.count("authorization") == (token ? 1 : 0));
  };
  REQUIRE_OK(Say(mesh.ToNode("training"), lies));
  check(mesh.node_echo(), "hub/training", false);
  REQUIRE_OK(Say(mesh.ToHub("harmonisation"), lies));
  check(mesh.hub_echo(), "node/lisbon/harmonisation", false);
  lies.emplace_back("oncomesh-node", "lisbon");
  REQUIRE_OK(Say(mesh.FrontDoor(true), lies));
  check(mesh.hub_echo(), "", true);  // and at the hub's own service, whatever node it names
  REQUIRE_OK(Say(mesh.FrontDoor(false), lies));
  check(mesh.node_echo(), "", true);
  // A service that names a node twice has not said which.
  REQUIRE_REASON(Say(mesh.ToNode(), {{"oncomesh-node", "porto"}}),
                 absl::StatusCode::kInvalidArgument, "METADATA_AMBIGUOUS");
}

TEST_CASE("relay: a node's relay cannot speak for another node") {
  TestMesh mesh;
  // With the certificate of a node's relay, straight at the hub's port for nodes.
  auto channel = mesh.Channel(mesh.hub().ports().nodes,
                              mesh.authority().Identity("node/porto/relay"), "hub/relay");
  REQUIRE_OK(Say(channel, {{"oncomesh-caller", "node/lisbon/training"}}));
  auto seen = mesh.hub_echo().metadata();
  REQUIRE(seen.count("oncomesh-caller") == 1);
  CHECK(seen.find("oncomesh-caller")->second == "node/porto/training");
  // Nor for a hub service.
  REQUIRE_OK(Say(channel, {{"oncomesh-caller", "hub/access"}}));
  CHECK(mesh.hub_echo().metadata().find("oncomesh-caller")->second == "node/porto/access");
  REQUIRE_OK(Say(channel));
  CHECK(mesh.hub_echo().metadata().find("oncomesh-caller")->second == "node/porto/relay");
  REQUIRE_REASON(Say(channel, {{"oncomesh-caller", "hub/access/../x"}}),
                 absl::StatusCode::kUnauthenticated, "PEER_UNKNOWN");
  // Nor can it call a node by itself.
  REQUIRE_OK(Say(channel, {{"oncomesh-node", "lisbon"}}));
  CHECK(mesh.node_echo().metadata().count("oncomesh-caller") == 0);
}

TEST_CASE("relay: a port is for its clients only") {
  TestMesh mesh;
  auto& authority = mesh.authority();
  struct Try {
    int port;
    std::string identity;
    std::string server;
    bool good;
  };
  int nodes = mesh.hub().ports().nodes;
  int hub = mesh.hub().ports().services;
  int node = mesh.node().ports().services;
  for (const Try& t : std::vector<Try>{{nodes, "node/lisbon/relay", "hub/relay", true},
                                       {nodes, "node/lisbon/training", "hub/relay", false},
                                       {nodes, "hub/training", "hub/relay", false},
                                       {hub, "hub/training", "hub/relay", true},
                                       {hub, "node/lisbon/relay", "hub/relay", false},
                                       {node, "node/lisbon/training", "node/lisbon/relay", true},
                                       {node, "node/porto/training", "node/lisbon/relay", false},
                                       {node, "hub/training", "node/lisbon/relay", false}}) {
    INFO(t.identity << " at the port of " << t.server << ", good: " << t.good);
    absl::Status status =
        Say(mesh.Channel(t.port, authority.Identity(t.identity), t.server, "lisbon"));
    // A hub service names the node it calls; the other ports do not look at the name.
    CHECK((t.good ? status.ok() : status.code() == absl::StatusCode::kUnavailable));
  }
}

TEST_CASE("relay: a certificate that is foreign, nameless or has two names opens nothing") {
  TestMesh mesh;
  std::string uri = absl::StrCat("spiffe://", kTrustDomain, "/hub/training");
  std::string other = absl::StrCat("spiffe://", kTrustDomain, "/hub/access");
  int port = mesh.hub().ports().services;
  auto code = [&](const std::string& identity) {
    return Say(mesh.Channel(port, identity, "hub/relay", "lisbon")).code();
  };
  auto& authority = mesh.authority();
  CHECK(code(authority.IdentityWithUris("one", {uri})) == absl::StatusCode::kOk);
  CHECK(code(authority.IdentityWithUris("two", {uri, other})) == absl::StatusCode::kUnavailable);
  CHECK(code(authority.IdentityWithUris("twice", {uri, uri})) == absl::StatusCode::kUnavailable);
  CHECK(code(authority.IdentityWithUris("domain", {"spiffe://other.example/hub/training"})) ==
        absl::StatusCode::kUnavailable);
  CHECK(code(authority.IdentityWithUris(
            "path", {absl::StrCat("spiffe://", kTrustDomain, "/hub/training/x")})) ==
        absl::StatusCode::kUnavailable);
  // Another authority that gives itself our names; the client trusts our server all the same.
  TestAuthority foreign(mesh.folder(), "foreign");
  std::string folder = foreign.Identity("hub/training");
  REQUIRE_VALUE(std::string ca, base::ReadFile(authority.ca_file()));
  REQUIRE_OK(base::WriteFileAtomically(folder + "/current/ca.crt", ca));
  CHECK(code(folder) == absl::StatusCode::kUnavailable);
  // No certificate at all.
  REQUIRE_VALUE(auto credentials, rpc::FrontDoorCredentials(
                                      authority.ca_file(), rpc::FrontDoorUri(kTrustDomain, "hub")));
  CHECK(Say(grpc::CreateChannel(absl::StrCat("127.0.0.1:", port), credentials)).code() ==
        absl::StatusCode::kUnavailable);
}

TEST_CASE("relay: TLS 1.3 is spoken, TLS 1.2 is not") {
  TestMesh mesh;
  for (int port :
       {mesh.hub().ports().front_door, mesh.hub().ports().nodes, mesh.node().ports().services}) {
    auto speaks = [&](const char* version) {
      std::string command =
          absl::StrCat("openssl s_client -connect 127.0.0.1:", port, " -alpn h2 ", version,
                       " </dev/null 2>/dev/null | grep -q 'Cipher is TLS_\\|Cipher is ECDHE'");
      return std::system(command.c_str()) == 0;
    };
    CHECK(speaks("-tls1_3"));
    CHECK_FALSE(speaks("-tls1_2"));
  }
}

TEST_CASE("relay: an unknown method is UNIMPLEMENTED, a service that is not there UNAVAILABLE") {
  TestMesh mesh;
  auto stub = RelayService::NewStub(mesh.FrontDoor(true));
  {
    // The relay's own service is not for people.
    grpc::ClientContext context;
    rpc::SetDeadline(context, absl::Seconds(20));
    relay::v1::ListNodesResponse response;
    CHECK(stub->ListNodes(&context, {}, &response).error_code() ==
          grpc::StatusCode::UNAUTHENTICATED);
  }
  // Reflection and health are on the admin port alone.
  auto channel = mesh.FrontDoor(true);
  for (const char* method : {"/grpc.health.v1.Health/Check", "/oncomesh.none.v1.None/Nothing",
                             "/oncomesh.relay.v1.Lanes/Control"}) {
    grpc::ClientContext context;
    rpc::SetDeadline(context, absl::Seconds(20));
    relay::v1::ListNodesResponse response;
    grpc::internal::RpcMethod rpc_method(method, grpc::internal::RpcMethod::NORMAL_RPC);
    absl::Status status = rpc::FromGrpc(
        grpc::internal::BlockingUnaryCall<relay::v1::ListNodesRequest, relay::v1::ListNodesResponse,
                                          google::protobuf::MessageLite,
                                          google::protobuf::MessageLite>(channel.get(), rpc_method,
                                                                         &context, {}, &response));
    REQUIRE_REASON(status, absl::StatusCode::kUnimplemented, "METHOD_UNKNOWN");
  }
}

TEST_CASE("relay: presence tells who is here, since when and how busy") {
  TestMesh mesh;
  OpenChat chat(mesh.ToNode());
  REQUIRE(chat.started);
  auto list = [&](const std::string& service) {
    grpc::ClientContext context;
    rpc::SetDeadline(context, absl::Seconds(20));
    relay::v1::ListNodesResponse response;
    REQUIRE_OK(rpc::FromGrpc(Control(mesh, service)->ListNodes(&context, {}, &response)));
    return response;
  };
  auto nodes = list("catalogue");
  REQUIRE(nodes.nodes_size() == 1);
  CHECK(nodes.nodes(0).node() == "lisbon");
  CHECK(nodes.nodes(0).connected());
  CHECK(nodes.nodes(0).busy_lanes() >= 1);
  CHECK_FALSE(nodes.nodes(0).software_version().empty());
  CHECK(nodes.nodes(0).since_time().seconds() > 1'700'000'000);
  mesh.StopNode();
  REQUIRE(mesh.WaitForNode(false));
  nodes = list("training");
  REQUIRE(nodes.nodes_size() == 1);
  CHECK_FALSE(nodes.nodes(0).connected());
  CHECK(nodes.nodes(0).since_time().seconds() > 1'700'000'000);
  CHECK(chat.End().code() == absl::StatusCode::kUnavailable);
}

TEST_CASE("relay: a suspended node is cut off at once, stays out over a restart, and comes back") {
  TestMesh mesh;
  OpenChat down(mesh.ToNode());
  OpenChat up(mesh.ToHub());
  REQUIRE(down.started);
  REQUIRE(up.started);
  REQUIRE_OK(Suspend(mesh, {"lisbon"}, 7));
  // Suspended means: what ran has ended when the call returns, in both directions.
  CHECK(down.End().code() == absl::StatusCode::kUnavailable);
  CHECK_FALSE(up.End().ok());
  REQUIRE_REASON(Say(mesh.ToNode()), absl::StatusCode::kPermissionDenied, "NODE_SUSPENDED");
  // With its certificate, and past its own relay, it gets nowhere either.
  auto channel = mesh.Channel(mesh.hub().ports().nodes,
                              mesh.authority().Identity("node/lisbon/relay"), "hub/relay");
  REQUIRE_REASON(Say(channel), absl::StatusCode::kPermissionDenied, "NODE_SUSPENDED");
  REQUIRE_REASON(Suspend(mesh, {}, 6), absl::StatusCode::kAborted, "EPOCH_ROLLBACK");
  REQUIRE_REASON(Suspend(mesh, {"../x"}, 8), absl::StatusCode::kInvalidArgument, "NODE_ID_INVALID");

  mesh.StopHub();
  mesh.StartHub();
  REQUIRE_REASON(Say(mesh.ToNode()), absl::StatusCode::kPermissionDenied, "NODE_SUSPENDED");
  std::this_thread::sleep_for(std::chrono::milliseconds(500));
  REQUIRE_REASON(Say(mesh.ToHub()), absl::StatusCode::kUnavailable, "HUB_NOT_CONNECTED");
  REQUIRE_OK(Suspend(mesh, {}, 8));
  REQUIRE(mesh.WaitForNode());
  REQUIRE_OK(Say(mesh.ToNode()));
  REQUIRE_OK(Say(mesh.ToHub()));
}

TEST_CASE("relay: only the hub's access service can cut a node off") {
  TestMesh mesh;
  grpc::ClientContext context;
  rpc::SetDeadline(context, absl::Seconds(20));
  relay::v1::SetSuspendedResponse response;
  REQUIRE_REASON(rpc::FromGrpc(Control(mesh, "training")->SetSuspended(&context, {}, &response)),
                 absl::StatusCode::kPermissionDenied, "SERVICE_NOT_ALLOWED");
}

TEST_CASE("relay: a node that is disconnected comes back by itself") {
  TestMesh mesh;
  OpenChat chat(mesh.ToNode());
  REQUIRE(chat.started);
  auto disconnect = [&](const std::string& node) {
    grpc::ClientContext context;
    rpc::SetDeadline(context, absl::Seconds(20));
    relay::v1::DisconnectNodeRequest request;
    relay::v1::DisconnectNodeResponse response;
    request.set_node(node);
    request.set_reason("test");
    return rpc::FromGrpc(Control(mesh, "access")->DisconnectNode(&context, request, &response));
  };
  REQUIRE_OK(disconnect("lisbon"));
  REQUIRE_REASON(chat.End(), absl::StatusCode::kUnavailable, "NODE_LEFT");
  REQUIRE_REASON(disconnect("porto"), absl::StatusCode::kNotFound, "NODE_NOT_CONNECTED");
  REQUIRE(mesh.WaitForNode());
  REQUIRE_OK(Say(mesh.ToNode()));
}

TEST_CASE("relay: a list of suspended nodes that cannot be read stops the start") {
  TestMesh::Options options;
  options.with_node = false;
  TestMesh mesh(options);
  mesh.StopHub();
  REQUIRE_OK(base::WriteFileAtomically(mesh.hub_config().service().state_dir() + "/suspended.json",
                                       "{\"version\":1,\"no"));
  REQUIRE_REASON(WireRelay(mesh.hub_config(), rpc::Role::kHub), absl::StatusCode::kDataLoss,
                 "SUSPENDED_UNREADABLE");
}

TEST_CASE("relay: a configuration that cannot work is refused") {
  TestMesh::Options options;
  options.with_node = false;
  TestMesh mesh(options);
  auto refused = [&](const std::function<void(config::v1::RelayConfig&)>& change,
                     const char* reason) {
    config::v1::RelayConfig config = mesh.hub_config();
    change(config);
    REQUIRE_REASON(WireRelay(config, rpc::Role::kHub), absl::StatusCode::kInvalidArgument, reason);
  };
  refused([](auto& c) { c.clear_node_listen(); }, "CONFIG_INVALID");
  refused([](auto& c) { c.set_hub_address("x:1"); }, "CONFIG_INVALID");
  refused([](auto& c) { c.mutable_service()->clear_trust_domain(); }, "CONFIG_INVALID");
  refused([](auto& c) { c.set_idle_lanes(-1); }, "CONFIG_INVALID");
  refused([](auto& c) { c.mutable_routes(0)->clear_service(); }, "CONFIG_INVALID");
  refused([](auto& c) { c.mutable_routes(0)->set_prefix("/"); }, "ROUTE_INVALID");
  refused([](auto& c) { c.mutable_routes(0)->set_prefix("oncomesh"); }, "ROUTE_INVALID");
  refused([](auto& c) { c.mutable_routes(0)->set_prefix("/oncomesh.relay.v1.Lanes"); },
          "ROUTE_INVALID");
  refused([](auto& c) { *c.add_routes() = c.routes(0); }, "ROUTE_INVALID");
  // A port that is taken shows at Start.
  REQUIRE_VALUE(auto second, WireRelay(mesh.hub_config(), rpc::Role::kHub));
  REQUIRE_REASON(second->Start(), absl::StatusCode::kUnavailable, "PORT_TAKEN");
}

}  // namespace oncomesh::relay::testing
