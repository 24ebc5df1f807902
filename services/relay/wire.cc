// SPDX-License-Identifier: Apache-2.0
#include "services/relay/wire.h"

#include <chrono>
#include <future>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "libs/base/error.h"
#include "libs/base/random.h"
#include "libs/base/status_macros.h"
#include "services/relay/grpc_runtime.h"
#include "services/relay/hub_link.h"
#include "services/relay/hub_relay.h"
#include "services/relay/node_directory.h"
#include "services/relay/node_relay.h"
#include "services/relay/relay_service.h"
#include "services/relay/routes.h"

#ifndef ONCOMESH_VERSION
#error "the build defines ONCOMESH_VERSION"
#endif

namespace oncomesh::relay {
namespace {

using config::v1::RelayConfig;
using std::chrono::steady_clock;

absl::Status Invalid(absl::string_view what) {
  return base::Error(absl::StatusCode::kInvalidArgument, "CONFIG_INVALID", what);
}

template <typename T>
T Or(T value, T otherwise) {
  return value != 0 ? value : otherwise;
}

absl::Status Check(const RelayConfig& config, rpc::Role role) {
  const auto& service = config.service();
  if (service.site().empty() || service.trust_domain().empty() || service.listen().empty() ||
      service.identity_dir().empty() || service.state_dir().empty()) {
    return Invalid("service.site, trustDomain, listen, identityDir and stateDir must be set");
  }
  if (role == rpc::Role::kHub ? config.node_listen().empty() || !config.hub_address().empty()
                              : config.hub_address().empty() || !config.node_listen().empty()) {
    return Invalid("a hub's relay needs nodeListen and has no hubAddress, a node's the reverse");
  }
  if (role == rpc::Role::kNode && !IsNodeId(service.site())) {
    return Invalid("service.site must be the node's name: 2 to 32 characters of a-z, 0-9, '-'");
  }
  auto within = [](int value, int most) { return value >= 0 && value <= most; };
  if (!within(config.idle_lanes(), 1000) || !within(config.max_lanes(), 4000) ||
      !within(config.max_waiting_calls(), 1 << 20) || !within(config.memory_mib(), 1 << 20) ||
      !within(config.drain_seconds(), 600) || !within(config.keepalive_seconds(), 7200) ||
      !within(config.keepalive_timeout_seconds(), 600)) {
    return Invalid("a number is outside of what services/relay/config.proto allows");
  }
  return absl::OkStatus();
}

GrpcRuntime::Options RuntimeOptions(const RelayConfig& config, rpc::Role role) {
  GrpcRuntime::Options options;
  using Clients = GrpcRuntime::Clients;
  options.ports.push_back({config.service().listen(), role == rpc::Role::kHub
                                                          ? Clients::kHubServices
                                                          : Clients::kOwnServices});
  if (!config.front_door_listen().empty()) {
    options.ports.push_back({config.front_door_listen(), Clients::kAnyone});
  }
  if (role == rpc::Role::kHub) {
    options.ports.push_back({config.node_listen(), Clients::kNodeRelays});
  }
  options.identity_dir = config.service().identity_dir();
  options.trust_domain = config.service().trust_domain();
  options.site = config.service().site();
  options.memory_mib = Or(config.memory_mib(), 512);
  options.keepalive = absl::Seconds(Or(config.keepalive_seconds(), 20));
  options.keepalive_timeout = absl::Seconds(Or(config.keepalive_timeout_seconds(), 10));
  return options;
}

absl::Status AddRoutes(const RelayConfig& config, GrpcRuntime& runtime, Routes& routes) {
  const std::string& site = config.service().site();
  for (const auto& route : config.routes()) {
    if (route.address().empty() || route.service().empty()) {
      return Invalid("every route needs prefix, address and service");
    }
    std::string path = site == "hub" ? absl::StrCat("hub/", route.service())
                                     : absl::StrCat("node/", site, "/", route.service());
    RETURN_IF_ERROR(routes.Add(route.prefix(), runtime.Connect(route.address(), path, false)));
  }
  return absl::OkStatus();
}

RelayApp::Ports PortsOf(const RelayConfig& config, rpc::Role role, const GrpcRuntime& runtime) {
  RelayApp::Ports ports;
  size_t next = 0;
  ports.services = runtime.ports()[next++];
  if (!config.front_door_listen().empty()) ports.front_door = runtime.ports()[next++];
  if (role == rpc::Role::kHub) ports.nodes = runtime.ports()[next];
  return ports;
}

// Waits until `begin`, run on the loop, has called what it is given, or until `end`.
void WaitFor(Loop& loop, steady_clock::time_point end,
             const std::function<void(std::function<void()>)>& begin) {
  auto done = std::make_shared<std::promise<void>>();
  std::future<void> reached = done->get_future();
  if (RunOn(loop, [&] { begin([done] { done->set_value(); }); })) reached.wait_until(end);
}

absl::Status Stopping() {
  return base::Error(absl::StatusCode::kUnavailable, "RELAY_DRAINING",
                     "the relay has stopped before the call was done");
}

class HubApp final : public RelayApp {
 public:
  static absl::StatusOr<std::unique_ptr<RelayApp>> Make(const RelayConfig& config) {
    std::unique_ptr<HubApp> app(new HubApp(config));
    RETURN_IF_ERROR(AddRoutes(config, app->runtime_, app->routes_));
    RETURN_IF_ERROR(app->nodes_.Load());
    return app;
  }
  ~HubApp() override { EndNow(); }

  absl::Status Start() override {
    return runtime_.Start({&service_}, [this](std::shared_ptr<IncomingCall> call) {
      relay_.OnCall(std::move(call));
    });
  }
  Ports ports() const override { return PortsOf(config_, rpc::Role::kHub, runtime_); }

  void Drain() override {
    auto end = steady_clock::now() + std::chrono::seconds(Or(config_.drain_seconds(), 10));
    WaitFor(runtime_, end, [this](std::function<void()> idle) {
      relay_.Drain();
      relay_.calls().WhenIdle(std::move(idle));
    });
    EndNow();
  }

 private:
  void EndNow() {
    RunOn(runtime_, [this] {
      relay_.calls().AbortAll(Stopping());
      nodes_.CutAll(Stopping());
    });
    runtime_.Stop();
  }

  explicit HubApp(const RelayConfig& config)
      : config_(config),
        runtime_(RuntimeOptions(config, rpc::Role::kHub)),
        nodes_({runtime_, base::SystemClock::Get(), base::SystemRandom::Get(), Limits(config),
                config.service().state_dir() + "/suspended.json"}),
        relay_(config.service().trust_domain(), nodes_, routes_),
        guard_({.site = "hub", .trust_domain = config.service().trust_domain()}),
        service_(guard_, nodes_) {}

  static LaneLimits Limits(const RelayConfig& config) {
    LaneLimits limits;
    limits.idle = Or(config.idle_lanes(), limits.idle);
    limits.lanes = std::max(Or(config.max_lanes(), limits.lanes), limits.idle);
    limits.waiting =
        static_cast<size_t>(Or(config.max_waiting_calls(), static_cast<int>(limits.waiting)));
    return limits;
  }

  const RelayConfig config_;
  GrpcRuntime runtime_;
  Routes routes_;
  NodeDirectory nodes_;
  HubRelay relay_;
  rpc::CallGuard guard_;
  RelayServiceImpl service_;
};

class NodeApp final : public RelayApp {
 public:
  static absl::StatusOr<std::unique_ptr<RelayApp>> Make(const RelayConfig& config) {
    std::unique_ptr<NodeApp> app(new NodeApp(config));
    RETURN_IF_ERROR(AddRoutes(config, app->runtime_, app->routes_));
    return app;
  }
  ~NodeApp() override { EndNow(); }

  absl::Status Start() override {
    relay_.Use(link_);
    RETURN_IF_ERROR(runtime_.Start(
        {}, [this](std::shared_ptr<IncomingCall> call) { relay_.OnCall(std::move(call)); }));
    RunOn(runtime_, [this] { link_->Start(); });
    return absl::OkStatus();
  }
  Ports ports() const override { return PortsOf(config_, rpc::Role::kNode, runtime_); }

  void Drain() override {
    auto end = steady_clock::now() + std::chrono::seconds(Or(config_.drain_seconds(), 10));
    WaitFor(runtime_, end, [this](std::function<void()> gone) { relay_.Drain(std::move(gone)); });
    WaitFor(runtime_, end,
            [this](std::function<void()> idle) { relay_.calls().WhenIdle(std::move(idle)); });
    EndNow();
  }

 private:
  void EndNow() {
    RunOn(runtime_, [this] {
      relay_.calls().AbortAll(Stopping());
      link_->Stop();
    });
    runtime_.Stop();
  }

  explicit NodeApp(const RelayConfig& config)
      : config_(config),
        runtime_(RuntimeOptions(config, rpc::Role::kNode)),
        relay_(config.service().trust_domain(), config.service().site(), routes_),
        link_(std::make_shared<HubLink>(HubLink::Deps{
            runtime_, Backoff(absl::Milliseconds(200), absl::Seconds(5), base::SystemRandom::Get()),
            ONCOMESH_VERSION,
            [this] { return runtime_.Connect(config_.hub_address(), "hub/relay", true); },
            [this](std::shared_ptr<IncomingCall> call) { relay_.OnArrived(std::move(call)); }})) {}

  const RelayConfig config_;
  GrpcRuntime runtime_;
  Routes routes_;
  NodeRelay relay_;
  std::shared_ptr<HubLink> link_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<RelayApp>> WireRelay(const RelayConfig& config, rpc::Role role) {
  RETURN_IF_ERROR(Check(config, role));
  return role == rpc::Role::kHub ? HubApp::Make(config) : NodeApp::Make(config);
}

absl::StatusOr<std::unique_ptr<rpc::App>> Wire(const RelayConfig& config, rpc::Role role) {
  return WireRelay(config, role);
}

}  // namespace oncomesh::relay
