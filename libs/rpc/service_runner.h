// SPDX-License-Identifier: Apache-2.0
// Runs a service from its command line to SIGTERM; every main.cc is one call of it:
//
//   int main(int argc, char** argv) {
//     return oncomesh::rpc::RunService<CatalogueConfig>(argc, argv, "catalogue",
//     oncomesh::catalogue::Wire);
//   }
#pragma once

#include <google/protobuf/message.h>
#include <grpcpp/impl/codegen/service_type.h>

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "oncomesh/config/v1/service.pb.h"

namespace grpc {
class ServerBuilder;
}

namespace oncomesh::rpc {

enum class Role { kHub, kNode };

// A gRPC service under its full name ("oncomesh.catalogue.v1.CatalogueService").
struct Served {
  std::string name;
  grpc::Service* service;
};

// Everything one service owns, made by its Wire function.
class App {
 public:
  virtual ~App() = default;
  // Served on the mutual-TLS port. Empty: the app has servers of its own (the relay).
  virtual std::vector<Served> services() { return {}; }
  // After the port is open: loops of the service's own start here.
  virtual absl::Status Start() { return absl::OkStatus(); }
  // No new work; called at SIGTERM before the port closes. Threads end when it returns.
  virtual void Drain() {}
};

// What a service is like for the runner.
struct ServiceTraits {
  // The identity folder is waited for before Wire; access, which writes it, does not wait.
  bool waits_for_identity = true;
};

using WireAny = std::function<absl::StatusOr<std::unique_ptr<App>>(
    const google::protobuf::Message& config, Role role)>;

// See RunService.
int RunServiceWith(int argc, char** argv, absl::string_view name, ServiceTraits traits,
                   google::protobuf::Message& config,
                   const std::function<const config::v1::ServiceConfig&()>& common,
                   const WireAny& wire);

// Flags: --role=hub|node --config=FILE [--check] [--version] [--help]. Reads the configuration
// strictly, wires the service, opens the admin port (health NOT_SERVING), the metrics port and the
// mutual-TLS port, becomes SERVING, and runs until SIGTERM or SIGINT; then NOT_SERVING, drain, and
// calls in flight get 10 s. Returns the exit status: 0 ended as told, 1 could not start, 2 usage.
template <typename Config, typename WireFunction>
int RunService(int argc, char** argv, absl::string_view name, WireFunction wire,
               ServiceTraits traits = {}) {
  Config config;
  return RunServiceWith(
      argc, argv, name, traits, config,
      [&]() -> const config::v1::ServiceConfig& { return config.service(); },
      [&](const google::protobuf::Message& parsed, Role role) {
        return wire(static_cast<const Config&>(parsed), role);
      });
}

// What every port of a service holds its clients to: sizes of messages and metadata, time for the
// handshake, and how much of a stream is taken before its handler has read it.
void LimitServer(grpc::ServerBuilder& builder);

// The JSON of a configuration file, read strictly. Errors: INVALID_ARGUMENT (CONFIG_INVALID) naming
// the place, NOT_FOUND.
absl::Status ReadConfig(const std::string& path, google::protobuf::Message& config);

}  // namespace oncomesh::rpc
