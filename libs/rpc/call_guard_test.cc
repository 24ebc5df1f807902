// SPDX-License-Identifier: Apache-2.0
// The guard around a real service over an in-process channel; only the connection's certificate is
// told to it, since an in-process channel has none.
#include "libs/rpc/call_guard.h"

#include <grpcpp/grpcpp.h>
#include <prometheus/registry.h>

#include <catch2/catch.hpp>
#include <memory>

#include "libs/base/error.h"
#include "libs/base/log.h"
#include "libs/rpc/access_rules.h"
#include "libs/rpc/channel.h"
#include "libs/rpc/identity.h"
#include "libs/rpc/metrics.h"
#include "libs/rpc/status.h"
#include "libs/testing/status_matchers.h"
#include "oncomesh/access/v1/access.grpc.pb.h"
#include "oncomesh/access/v1/people.grpc.pb.h"

namespace oncomesh::rpc {
namespace {

using access::v1::RevokePermitRequest;
using access::v1::RevokePermitResponse;
using access::v1::WhoAmIRequest;
using access::v1::WhoAmIResponse;

class KnownPeople final : public Authenticator {
 public:
  absl::StatusOr<Person> Authenticate(absl::string_view token) override {
    if (token == "good-researcher") return Person{"ana", {"researcher"}, absl::InfiniteFuture()};
    if (token == "good-operator") return Person{"oto", {"operator"}, absl::InfiniteFuture()};
    return base::Error(absl::StatusCode::kUnauthenticated, "TOKEN_SIGNATURE_INVALID", "no");
  }
};

class Events final : public Auditor {
 public:
  absl::Status Record(const CallEvent& event) override {
    events.push_back(event);
    return broken ? base::Error(absl::StatusCode::kUnavailable, "LOG_FAILED", "full")
                  : absl::OkStatus();
  }
  std::vector<CallEvent> events;
  bool broken = false;
};

// A PeopleService and an AccessService whose cores count how often they were reached.
struct Mesh {
  Mesh() {
    CallGuard::Deps deps;
    deps.site = "hub";
    deps.trust_domain = "test";
    deps.authenticator = &people;
    deps.auditor = &events;
    deps.peer = [this](const grpc::ServerContext& context) {
      Peer out = peer;
      for (const auto& [key, value] : context.client_metadata()) {
        out.metadata.emplace(std::string(key.data(), key.size()),
                             std::string(value.data(), value.size()));
      }
      return out;
    };
    guard = std::make_unique<CallGuard>(deps);
    who.mesh = this;
    revoke.mesh = this;
    grpc::ServerBuilder builder;
    builder.RegisterService(&who);
    builder.RegisterService(&revoke);
    server = builder.BuildAndStart();
    channel = server->InProcessChannel({});
  }
  ~Mesh() { server->Shutdown(); }

  struct Who final : access::v1::PeopleService::Service {
    grpc::Status WhoAmI(grpc::ServerContext* context, const WhoAmIRequest* request,
                        WhoAmIResponse* response) override {
      return mesh->guard->Run(context, "/oncomesh.access.v1.PeopleService/WhoAmI", *request,
                              [&](const Caller& caller) {
                                ++mesh->reached;
                                response->set_subject(caller.Actor());
                                return absl::OkStatus();
                              });
    }
    Mesh* mesh;
  };
  struct Revoke final : access::v1::AccessService::Service {
    grpc::Status RevokePermit(grpc::ServerContext* context, const RevokePermitRequest* request,
                              RevokePermitResponse*) override {
      return mesh->guard->Run(context, "/oncomesh.access.v1.AccessService/RevokePermit", *request,
                              [&](const Caller& caller) -> absl::Status {
                                ++mesh->reached;
                                caller.Note("epoch", "7");
                                if (request->id() == "unknown") {
                                  return base::Error(absl::StatusCode::kNotFound,
                                                     "PERMIT_NOT_FOUND", "no");
                                }
                                return absl::OkStatus();
                              });
    }
    Mesh* mesh;
  };

  absl::Status WhoAmI(const std::string& authorization, WhoAmIResponse& response,
                      bool deadline = true, const std::string& caller = "") {
    grpc::ClientContext context;
    if (deadline) SetDeadline(context, absl::Seconds(5));
    if (!authorization.empty()) context.AddMetadata("authorization", authorization);
    if (!caller.empty()) context.AddMetadata(kCallerKey, caller);
    return FromGrpc(
        access::v1::PeopleService::NewStub(channel)->WhoAmI(&context, WhoAmIRequest(), &response));
  }
  absl::Status RevokePermit(const std::string& authorization, const std::string& id = "permit-1") {
    grpc::ClientContext context;
    SetDeadline(context, absl::Seconds(5));
    context.AddMetadata("authorization", authorization);
    RevokePermitRequest request;
    request.set_id(id);
    request.set_reason("free text stays out");
    RevokePermitResponse response;
    return FromGrpc(
        access::v1::AccessService::NewStub(channel)->RevokePermit(&context, request, &response));
  }

  KnownPeople people;
  Events events;
  Peer peer{{"spiffe://test/hub/relay"}, {}};
  std::unique_ptr<CallGuard> guard;
  Who who;
  Revoke revoke;
  int reached = 0;
  std::unique_ptr<grpc::Server> server;
  std::shared_ptr<grpc::Channel> channel;
};

TEST_CASE("guard: a person with a valid token is let in by role") {
  Mesh mesh;
  WhoAmIResponse response;
  REQUIRE_OK(mesh.WhoAmI("Bearer good-researcher", response));
  CHECK(response.subject() == "person:ana");
  REQUIRE_REASON(mesh.RevokePermit("Bearer good-researcher"), absl::StatusCode::kPermissionDenied,
                 "ROLE_NEEDED");
  REQUIRE_OK(mesh.RevokePermit("Bearer good-operator"));
  CHECK(mesh.reached == 2);
  // Both the refusal and the use are events; neither holds the token.
  REQUIRE(mesh.events.events.size() == 3);
  CHECK(mesh.events.events[0].outcome == "PERMISSION_DENIED");
  CHECK(mesh.events.events[0].actor == "person:ana");
  CHECK(mesh.events.events[0].note.object.empty());
  // A decision is on record before it is taken, and says afterwards what was decided.
  CHECK(mesh.events.events[1].outcome == "STARTED");
  CHECK(mesh.events.events[1].note.object.empty());
  CHECK(mesh.events.events[2].outcome == "OK");
  CHECK(mesh.events.events[2].note.object == "permit-1");
  CHECK(mesh.events.events[2].note.attributes ==
        std::map<std::string, std::string>{{"epoch", "7"}});
}

TEST_CASE("guard: the event of a call that failed holds nothing of its request") {
  Mesh mesh;
  REQUIRE_REASON(mesh.RevokePermit("Bearer good-operator", "unknown"), absl::StatusCode::kNotFound,
                 "PERMIT_NOT_FOUND");
  REQUIRE(mesh.events.events.size() == 2);
  CHECK(mesh.events.events[1].outcome == "NOT_FOUND");
  CHECK(mesh.events.events[1].reason == "PERMIT_NOT_FOUND");
  CHECK(mesh.events.events[1].note.object.empty());
  CHECK(mesh.events.events[1].note.attributes.empty());
}

TEST_CASE("guard: at level debug each call is logged, its request masked") {
  Mesh mesh;
  std::string lines;
  base::SetLogSink([&](const std::string& line) { lines += line; });
  REQUIRE_OK(mesh.RevokePermit("Bearer good-operator", "permit-of-somebody"));
  CHECK(lines.find("call.begin") == std::string::npos);
  base::SetLogLevel(base::Level::kDebug);
  REQUIRE_OK(mesh.RevokePermit("Bearer good-operator", "permit-of-somebody"));
  base::SetLogLevel(base::Level::kInfo);
  base::SetLogSink(nullptr);
  CHECK(lines.find("call.begin") != std::string::npos);
  CHECK(lines.find(R"("request":{"id":"***","reason":"***"})") != std::string::npos);
  CHECK(lines.find("somebody") == std::string::npos);
  CHECK(lines.find("good-operator") == std::string::npos);
}

TEST_CASE("guard: a decision that cannot be recorded first is not taken") {
  Mesh mesh;
  mesh.events.broken = true;
  REQUIRE_REASON(mesh.RevokePermit("Bearer good-operator"), absl::StatusCode::kUnavailable,
                 "LOG_FAILED");
  CHECK(mesh.reached == 0);
}

TEST_CASE("guard: no token, a bad token and a malformed header never reach the core") {
  Mesh mesh;
  WhoAmIResponse response;
  REQUIRE_REASON(mesh.WhoAmI("", response), absl::StatusCode::kUnauthenticated, "NOT_SIGNED_IN");
  REQUIRE_REASON(mesh.WhoAmI("Bearer forged", response), absl::StatusCode::kUnauthenticated,
                 "TOKEN_SIGNATURE_INVALID");
  REQUIRE_REASON(mesh.WhoAmI("Basic eA==", response), absl::StatusCode::kUnauthenticated,
                 "TOKEN_MALFORMED");
  CHECK(mesh.reached == 0);
}

TEST_CASE("guard: what strangers try is counted, and fills neither the audit log nor the other") {
  Mesh mesh;
  std::vector<std::string> lines;
  base::SetLogSink([&](const std::string& line) { lines.push_back(line); });
  auto counted = [] {
    double out = 0;
    for (const auto& family : Metrics().Collect()) {
      if (family.name != "oncomesh_strangers_refused_total") continue;
      for (const auto& metric : family.metric) out += metric.counter.value;
    }
    return out;
  };
  const double before = counted();
  for (int i = 0; i < 20; ++i) {
    REQUIRE_REASON(mesh.RevokePermit("Bearer forged"), absl::StatusCode::kUnauthenticated,
                   "TOKEN_SIGNATURE_INVALID");
    REQUIRE_REASON(mesh.RevokePermit(""), absl::StatusCode::kUnauthenticated, "NOT_SIGNED_IN");
  }
  base::SetLogSink(nullptr);
  CHECK(mesh.events.events.empty());
  CHECK(counted() == before + 40);
  // At most one line in ten seconds, for the whole process.
  CHECK(lines.size() <= 2);
  CHECK(mesh.reached == 0);
}

TEST_CASE("guard: a call without a deadline is refused") {
  Mesh mesh;
  WhoAmIResponse response;
  REQUIRE_REASON(mesh.WhoAmI("Bearer good-researcher", response, /*deadline=*/false),
                 absl::StatusCode::kInvalidArgument, "DEADLINE_NEEDED");
  CHECK(mesh.reached == 0);
}

TEST_CASE("guard: only the site's own relay can name another caller") {
  Mesh mesh;
  WhoAmIResponse response;
  // The relay speaks for a hub service.
  REQUIRE_OK(mesh.WhoAmI("", response, true, "hub/training"));
  CHECK(response.subject() == "service:hub/training");
  // Another service that sends the same metadata is taken for itself.
  mesh.peer.uris = {"spiffe://test/hub/catalogue"};
  REQUIRE_OK(mesh.WhoAmI("Bearer good-operator", response, true, "hub/training"));
  CHECK(response.subject() == "service:hub/catalogue");
  // A node's relay is not this site's relay: it is a service like any other, and not allowed here.
  mesh.peer.uris = {"spiffe://test/node/lisbon/relay"};
  REQUIRE_REASON(mesh.WhoAmI("", response, true, "hub/training"),
                 absl::StatusCode::kPermissionDenied, "SERVICE_NOT_ALLOWED");
}

TEST_CASE("guard: certificates of no name, of two names and of another domain are refused") {
  Mesh mesh;
  WhoAmIResponse response;
  for (std::vector<std::string> uris : {std::vector<std::string>{},
                                        {"spiffe://test/hub/relay", "spiffe://test/hub/access"},
                                        {"spiffe://other/hub/relay"},
                                        {"spiffe://test/hub/relay/x"},
                                        {"spiffe://test/hub/.."}}) {
    mesh.peer.uris = uris;
    REQUIRE_REASON(mesh.WhoAmI("Bearer good-operator", response),
                   absl::StatusCode::kUnauthenticated, "PEER_UNKNOWN");
  }
  CHECK(mesh.reached == 0);
}

TEST_CASE("guard: what cannot be recorded does not succeed") {
  Mesh mesh;
  mesh.events.broken = true;
  REQUIRE_REASON(mesh.RevokePermit("Bearer good-operator"), absl::StatusCode::kUnavailable,
                 "LOG_FAILED");
}

TEST_CASE("rules: every service pattern matches what it says and nothing more") {
  options::v1::AccessRule rule;
  rule.add_services("node/*/training");
  rule.add_services("local/catalogue");
  auto service = [](std::string path) {
    Caller caller;
    caller.kind = Caller::Kind::kService;
    caller.service = path;
    return caller;
  };
  REQUIRE_OK(Allow(rule, service("node/lisbon/training"), "hub"));
  REQUIRE_OK(Allow(rule, service("hub/catalogue"), "hub"));
  REQUIRE_OK(Allow(rule, service("node/lisbon/catalogue"), "lisbon"));
  for (const char* path :
       {"node/lisbon/relay", "hub/training", "node/lisbon/catalogue", "node/training"}) {
    REQUIRE_REASON(Allow(rule, service(path), "hub"), absl::StatusCode::kPermissionDenied,
                   "SERVICE_NOT_ALLOWED");
  }
}

TEST_CASE("identity: only well-formed paths of the trust domain are paths") {
  CHECK(PathOfUri("spiffe://d/hub/relay", "d") == "hub/relay");
  CHECK(PathOfUri("spiffe://d/node/a/relay", "d") == "node/a/relay");
  for (const char* uri :
       {"spiffe://d/hub", "spiffe://d/hub/a/b", "spiffe://d/node/a", "http://d/hub/relay",
        "spiffe://dd/hub/relay", "spiffe://d//relay", "spiffe://d/node/../relay", ""}) {
    CHECK(PathOfUri(uri, "d").empty());
  }
}

}  // namespace
}  // namespace oncomesh::rpc
