// SPDX-License-Identifier: Apache-2.0
#include "services/relay/testing/test_mesh.h"

#include <grpcpp/server_builder.h>
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <thread>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"
#include "absl/time/clock.h"
#include "libs/base/files.h"
#include "libs/base/log.h"
#include "libs/crypto/keys.h"
#include "libs/crypto/x509.h"
#include "libs/rpc/channel.h"
#include "libs/rpc/identity.h"
#include "oncomesh/relay/v1/relay.grpc.pb.h"

namespace oncomesh::relay::testing {
namespace {

void Must(const absl::Status& status) {
  if (status.ok()) return;
  std::fprintf(stderr, "test mesh: %s\n", status.ToString().c_str());
  std::abort();
}

template <typename T>
T Must(absl::StatusOr<T> value) {
  Must(value.status());
  return *std::move(value);
}

std::string Address(int port) { return absl::StrCat("127.0.0.1:", port); }

std::unique_ptr<grpc::Server> Serve(EchoService& service, const std::string& identity, int* port) {
  grpc::ServerBuilder builder;
  builder.AddListeningPort("127.0.0.1:0",
                           rpc::IdentityServerCredentials(identity, rpc::Clients::kMesh), port);
  builder.SetMaxReceiveMessageSize(rpc::kMaxMessageBytes);
  builder.RegisterService(&service);
  auto server = builder.BuildAndStart();
  if (server == nullptr || *port == 0) std::abort();
  return server;
}

}  // namespace

struct TestAuthority::Keys {
  crypto::PrivateKey authority = crypto::PrivateKey::Generate(crypto::KeyType::kP256);
  std::string certificate;
};

TestAuthority::TestAuthority(std::string root, std::string name)
    : root_(std::move(root)), name_(std::move(name)), keys_(std::make_unique<Keys>()) {
  absl::Time now = absl::Now();
  keys_->certificate =
      crypto::CreateAuthority(keys_->authority, name_, now - absl::Hours(1), now + absl::Hours(24));
  Must(base::WriteFileAtomically(ca_file(), keys_->certificate));
  Must(base::WriteFileAtomically(root_ + "/" + name_ + ".key", keys_->authority.ToPem(), 0600));
}

TestAuthority::~TestAuthority() = default;

std::string TestAuthority::Identity(const std::string& path) {
  std::string folder =
      absl::StrCat(root_, "/", name_, "-", absl::StrReplaceAll(path, {{"/", "-"}}));
  std::string current = folder + "/current";
  if (access((current + "/tls.crt").c_str(), R_OK) == 0) return folder;
  Must(base::MakeDirectories(current));
  auto key = crypto::PrivateKey::Generate(crypto::KeyType::kP256);
  absl::Time now = absl::Now();
  crypto::CertificateRequest request;
  request.uri = absl::StrCat("spiffe://", kTrustDomain, "/", path);
  request.not_before = now - absl::Hours(1);
  request.not_after = now + absl::Hours(24);
  std::string certificate = Must(crypto::IssueCertificate(
      keys_->certificate, keys_->authority, crypto::CreateSigningRequest(key), request));
  Must(base::WriteFileAtomically(current + "/tls.key", key.ToPem(), 0600));
  Must(base::WriteFileAtomically(current + "/ca.crt", keys_->certificate));
  Must(base::WriteFileAtomically(current + "/tls.crt", certificate));
  return folder;
}

std::string TestAuthority::IdentityWithUris(const std::string& name,
                                            const std::vector<std::string>& uris) {
  // Our own issuer makes no such certificate; another program does.
  std::string folder = absl::StrCat(root_, "/", name_, "-", name);
  std::string current = folder + "/current";
  Must(base::MakeDirectories(current));
  auto key = crypto::PrivateKey::Generate(crypto::KeyType::kP256);
  Must(base::WriteFileAtomically(current + "/tls.key", key.ToPem(), 0600));
  Must(base::WriteFileAtomically(current + "/ca.crt", keys_->certificate));
  Must(base::WriteFileAtomically(current + "/tls.csr", crypto::CreateSigningRequest(key)));
  Must(base::WriteFileAtomically(
      current + "/names",
      absl::StrCat("subjectAltName=",
                   absl::StrJoin(uris, ",", [](std::string* out, const std::string& uri) {
                     absl::StrAppend(out, "URI:", uri);
                   }))));
  std::string command =
      absl::StrCat("openssl x509 -req -in ", current, "/tls.csr -CA ", ca_file(), " -CAkey ", root_,
                   "/", name_, ".key -CAcreateserial -days 1 -extfile ", current, "/names -out ",
                   current, "/tls.crt 2>/dev/null");
  if (std::system(command.c_str()) != 0) std::abort();
  return folder;
}

ScratchFolder::ScratchFolder() {
  std::string name = std::filesystem::temp_directory_path() / "oncomesh-relay-XXXXXX";
  if (mkdtemp(name.data()) == nullptr) std::abort();
  path_ = name;
}

ScratchFolder::~ScratchFolder() {
  std::error_code ignored;
  std::filesystem::remove_all(path_, ignored);
}

TestMesh::TestMesh(Options options) : authority_(folder_.path(), "ca") {
  rpc::AllowOnlyTls13();
  base::SetLogLevel(base::Level::kError);
  hub_server_ = Serve(hub_echo_, authority_.Identity("hub/catalogue"), &hub_echo_port_);
  node_server_ = Serve(node_echo_, authority_.Identity("node/lisbon/catalogue"), &node_echo_port_);
  auto fill = [&](config::v1::RelayConfig& config, const std::string& site, int echo_port) {
    auto* service = config.mutable_service();
    service->set_site(site);
    service->set_trust_domain(kTrustDomain);
    service->set_listen("127.0.0.1:0");
    service->set_identity_dir(authority_.Identity(rpc::ServicePath(site, "relay")));
    service->set_state_dir(folder_.path() + "/state-" + site);
    Must(base::MakeDirectories(service->state_dir(), 0700));
    config.set_front_door_listen("127.0.0.1:0");
    auto* route = config.add_routes();
    route->set_prefix("/oncomesh.echo.v1.");
    route->set_address(Address(echo_port));
    route->set_service("catalogue");
    config.set_keepalive_seconds(options.keepalive_seconds);
    config.set_keepalive_timeout_seconds(options.keepalive_timeout_seconds);
    config.set_drain_seconds(options.drain_seconds);
  };
  fill(hub_config_, "hub", hub_echo_port_);
  fill(node_config_, "lisbon", node_echo_port_);
  hub_config_.set_node_listen("127.0.0.1:0");
  hub_config_.set_idle_lanes(options.idle_lanes);
  hub_config_.set_max_lanes(options.max_lanes);
  StartHub();
  // A hub that restarts is found where it was.
  hub_config_.mutable_service()->set_listen(Address(hub_->ports().services));
  hub_config_.set_front_door_listen(Address(hub_->ports().front_door));
  hub_config_.set_node_listen(Address(hub_->ports().nodes));
  node_config_.set_hub_address(hub_config_.node_listen());
  if (!options.with_node) return;
  StartNode();
  node_config_.mutable_service()->set_listen(Address(node_->ports().services));
  node_config_.set_front_door_listen(Address(node_->ports().front_door));
  if (!WaitForNode()) std::abort();
}

TestMesh::~TestMesh() {
  node_ = nullptr;
  hub_ = nullptr;
  auto now = std::chrono::system_clock::now();
  hub_server_->Shutdown(now);
  node_server_->Shutdown(now);
}

void TestMesh::StartHub() {
  hub_ = Must(WireRelay(hub_config_, rpc::Role::kHub));
  Must(hub_->Start());
}

void TestMesh::StartNode() {
  node_ = Must(WireRelay(node_config_, rpc::Role::kNode));
  Must(node_->Start());
}

bool TestMesh::WaitForNode(bool connected, const std::string& node) {
  auto stub = relay::v1::RelayService::NewStub(
      Channel(hub_->ports().services, authority_.Identity("hub/access"), "hub/relay"));
  for (int i = 0; i < 1000; ++i) {
    grpc::ClientContext context;
    rpc::SetDeadline(context, absl::Seconds(5));
    relay::v1::ListNodesResponse response;
    grpc::Status status = stub->ListNodes(&context, {}, &response);
    bool here = false;
    for (const auto& presence : response.nodes()) {
      here = here || (presence.node() == node && presence.connected() && presence.idle_lanes() > 0);
    }
    if (status.ok() && here == connected) return true;
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  return false;
}

std::shared_ptr<grpc::Channel> TestMesh::Channel(int port, const std::string& identity_dir,
                                                 const std::string& peer, const std::string& node) {
  return rpc::Connect({.target = Address(port),
                       .identity_dir = identity_dir,
                       .trust_domain = kTrustDomain,
                       .peer = peer,
                       .node = node});
}

std::shared_ptr<grpc::Channel> TestMesh::ToNode(const std::string& service,
                                                const std::string& node) {
  return Channel(hub_->ports().services, authority_.Identity("hub/" + service), "hub/relay", node);
}

std::shared_ptr<grpc::Channel> TestMesh::ToHub(const std::string& service) {
  return Channel(node_->ports().services, authority_.Identity("node/lisbon/" + service),
                 "node/lisbon/relay");
}

std::shared_ptr<grpc::Channel> TestMesh::Direct(bool hub) {
  return Channel(hub ? hub_echo_port_ : node_echo_port_, authority_.Identity("hub/training"),
                 hub ? "hub/catalogue" : "node/lisbon/catalogue");
}

std::shared_ptr<grpc::Channel> TestMesh::FrontDoor(bool hub, const std::string& token) {
  return Must(
      rpc::ConnectFrontDoor(Address((hub ? hub_ : node_)->ports().front_door), authority_.ca_file(),
                            rpc::FrontDoorUri(kTrustDomain, hub ? "hub" : "lisbon"), token));
}

}  // namespace oncomesh::relay::testing
