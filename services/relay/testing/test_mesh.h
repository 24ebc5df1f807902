// SPDX-License-Identifier: Apache-2.0
// A hub and a node in one process, as they are in production but for being in one process: real
// relays, real mutual TLS on loopback, an echo service on either side.
#pragma once

#include <grpcpp/channel.h>
#include <grpcpp/server.h>

#include <memory>
#include <string>
#include <vector>

#include "services/relay/testing/echo_service.h"
#include "services/relay/wire.h"

namespace oncomesh::relay::testing {

inline constexpr char kTrustDomain[] = "test.example";

// Writes identity folders. Every method ends the program when it cannot do what it says.
class TestAuthority {
 public:
  TestAuthority(std::string root, std::string name);
  ~TestAuthority();
  // The folder of a service with this path, "hub/training"; made when it is not there.
  std::string Identity(const std::string& path);
  // One whose certificate has exactly these names.
  std::string IdentityWithUris(const std::string& folder, const std::vector<std::string>& uris);
  std::string ca_file() const { return root_ + "/" + name_ + ".crt"; }

 private:
  struct Keys;
  const std::string root_;
  const std::string name_;
  std::unique_ptr<Keys> keys_;
};

// A folder that is removed at the end; benchmarks, which have no test library, use it too.
class ScratchFolder {
 public:
  ScratchFolder();
  ~ScratchFolder();
  ScratchFolder(const ScratchFolder&) = delete;
  ScratchFolder& operator=(const ScratchFolder&) = delete;
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

class TestMesh {
 public:
  struct Options {
    int idle_lanes = 0;
    int max_lanes = 0;
    int keepalive_seconds = 0;
    int keepalive_timeout_seconds = 0;
    int drain_seconds = 0;
    bool with_node = true;
  };
  explicit TestMesh(Options options);
  TestMesh() : TestMesh(Options()) {}
  ~TestMesh();

  // From a hub service, through both relays, to the node's echo service.
  std::shared_ptr<grpc::Channel> ToNode(const std::string& service = "training",
                                        const std::string& node = "lisbon");
  // From a node service, through both relays, to the hub's echo service.
  std::shared_ptr<grpc::Channel> ToHub(const std::string& service = "training");
  // Straight to an echo service, with mutual TLS.
  std::shared_ptr<grpc::Channel> Direct(bool hub);
  // As somebody without a certificate, at a front door.
  std::shared_ptr<grpc::Channel> FrontDoor(bool hub, const std::string& token = "");
  // To any port of the mesh, with any identity folder.
  std::shared_ptr<grpc::Channel> Channel(int port, const std::string& identity_dir,
                                         const std::string& peer, const std::string& node = "");

  void StartHub();
  void StartNode();
  void StopHub() { hub_ = nullptr; }
  void StopNode() { node_ = nullptr; }
  // Waits until the node's lanes are open (or until it has gone).
  bool WaitForNode(bool connected = true, const std::string& node = "lisbon");

  RelayApp& hub() { return *hub_; }
  RelayApp& node() { return *node_; }
  EchoService& hub_echo() { return hub_echo_; }
  EchoService& node_echo() { return node_echo_; }
  TestAuthority& authority() { return authority_; }
  const std::string& folder() const { return folder_.path(); }
  const config::v1::RelayConfig& hub_config() const { return hub_config_; }
  const config::v1::RelayConfig& node_config() const { return node_config_; }

 private:
  ScratchFolder folder_;
  TestAuthority authority_;
  EchoService hub_echo_;
  EchoService node_echo_;
  std::unique_ptr<grpc::Server> hub_server_;
  std::unique_ptr<grpc::Server> node_server_;
  int hub_echo_port_ = 0;
  int node_echo_port_ = 0;
  config::v1::RelayConfig hub_config_;
  config::v1::RelayConfig node_config_;
  std::unique_ptr<RelayApp> hub_;
  std::unique_ptr<RelayApp> node_;
};

}  // namespace oncomesh::relay::testing
