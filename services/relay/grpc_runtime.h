// SPDX-License-Identifier: Apache-2.0
// Everything the relay has of gRPC: ports, connections and the completion queue. The rest of the
// relay sees it as calls (call.h) and a loop (loop.h).
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "libs/base/mutex.h"
#include "services/relay/call.h"
#include "services/relay/loop.h"

namespace grpc {
class Service;
}

namespace oncomesh::relay {

// One completion queue and one thread that empties it: events of one call can then not overtake
// each other, and nothing behind it needs a lock.
class GrpcRuntime final : public Loop {
 public:
  // Who may connect to a port. Others are refused before any code of the relay's sees their call.
  enum class Clients { kNodeRelays, kHubServices, kOwnServices, kAnyone };

  struct Port {
    std::string address;
    Clients clients;
  };
  struct Options {
    std::vector<Port> ports;
    std::string identity_dir;
    std::string trust_domain;
    std::string site;
    int memory_mib = 512;
    absl::Duration keepalive = absl::Seconds(20);
    absl::Duration keepalive_timeout = absl::Seconds(10);
  };
  using OnCall = std::function<void(std::shared_ptr<IncomingCall>)>;

  explicit GrpcRuntime(Options options);
  ~GrpcRuntime() override;

  // Opens the ports and starts the loop. `services` are served at the ports beside the calls passed
  // on. Once. Errors: UNAVAILABLE (PORT_TAKEN).
  absl::Status Start(const std::vector<grpc::Service*>& services, OnCall on_call);
  // The TCP ports, in the order of Options::ports. After Start.
  const std::vector<int>& ports() const { return bound_; }

  // Connections to a server that must show the name `peer_path`. `across_sites`: one of their own,
  // watched by keepalive, that dials once and is not dialled again; else connections to a service
  // of this site, dialled whenever there is none. Before Start, or on the loop's thread.
  std::shared_ptr<Line> Connect(const std::string& address, const std::string& peer_path,
                                bool across_sites);

  // Closes the ports, resets what still runs, and ends the loop. Not on the loop's thread. When it
  // returns, no call exists any more. Does nothing the second time.
  void Stop();

  bool Post(std::function<void()> task) override;
  std::unique_ptr<Timer> After(absl::Duration wait, std::function<void()> task) override;

 private:
  class ServerCall;
  class ClientCall;
  class GrpcLine;
  class PostedTask;
  class AlarmTimer;
  struct Impl;

  void Accept();
  void Run();
  void Born();
  void Died();

  const Options options_;
  OnCall on_call_;
  std::vector<int> bound_;
  std::unique_ptr<Impl> impl_;
  std::thread thread_;

  base::Mutex mutex_;
  base::CondVar changed_;
  int alive_ ABSL_GUARDED_BY(mutex_) = 0;  // calls
  bool running_ ABSL_GUARDED_BY(mutex_) = false;
};

}  // namespace oncomesh::relay
