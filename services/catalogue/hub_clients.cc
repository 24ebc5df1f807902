// SPDX-License-Identifier: Apache-2.0
#include "services/catalogue/hub_clients.h"

#include <grpcpp/grpcpp.h>

#include <map>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "libs/base/error.h"
#include "libs/base/mutex.h"
#include "libs/rpc/channel.h"
#include "libs/rpc/status.h"
#include "oncomesh/access/v1/enrolment.grpc.pb.h"
#include "oncomesh/catalogue/v1/node_catalogue.grpc.pb.h"

namespace oncomesh::catalogue {
namespace {

using oncomesh::config::v1::ServiceConfig;

class AccessDirectory final : public NodeDirectory {
 public:
  explicit AccessDirectory(const ServiceConfig& config)
      : stub_(access::v1::EnrolmentService::NewStub(
            rpc::Connect({.target = config.access_address(),
                          .identity_dir = config.identity_dir(),
                          .trust_domain = config.trust_domain(),
                          .peer = "hub/access",
                          .node = ""}))) {}

  absl::StatusOr<std::vector<MeshNode>> Nodes() override {
    grpc::ClientContext context;
    rpc::SetDeadline(context, absl::Seconds(5));
    access::v1::ListNodesResponse response;
    absl::Status status = rpc::FromGrpc(stub_->ListNodes(&context, {}, &response));
    if (!status.ok()) {
      return base::Error(absl::StatusCode::kUnavailable, "NODES_UNKNOWN",
                         "the hub's access service does not say which nodes there are; try again");
    }
    std::vector<MeshNode> out;
    for (const access::v1::Node& node : response.nodes()) {
      if (node.state() == access::v1::Node::STATE_MEMBER) {
        out.push_back({node.name(), node.connected()});
      }
    }
    return out;
  }

 private:
  std::unique_ptr<access::v1::EnrolmentService::Stub> stub_;
};

class RelayCounter final : public NodeCounter {
 public:
  explicit RelayCounter(const ServiceConfig& config) : config_(config) {}

  absl::StatusOr<v1::NodeCount> Count(const std::string& node,
                                      const v1::CountAtNodeRequest& request,
                                      const std::string& permit, absl::Time deadline) override {
    std::shared_ptr<v1::NodeCatalogueService::Stub> stub = StubOf(node);
    grpc::ClientContext context;
    context.set_deadline(absl::ToChronoTime(deadline));
    if (!permit.empty()) context.AddMetadata(rpc::kPermitKey, permit);
    v1::CountAtNodeResponse response;
    absl::Status status = rpc::FromGrpc(stub->CountAtNode(&context, request, &response));
    if (!status.ok()) return status;
    return response.count();
  }

 private:
  std::shared_ptr<v1::NodeCatalogueService::Stub> StubOf(const std::string& node) {
    base::MutexLock lock(mutex_);
    std::shared_ptr<v1::NodeCatalogueService::Stub>& stub = stubs_[node];
    if (stub == nullptr) {
      stub = v1::NodeCatalogueService::NewStub(rpc::Connect({.target = config_.relay_address(),
                                                             .identity_dir = config_.identity_dir(),
                                                             .trust_domain = config_.trust_domain(),
                                                             .peer = "hub/relay",
                                                             .node = node}));
    }
    return stub;
  }

  const ServiceConfig config_;
  base::Mutex mutex_;
  std::map<std::string, std::shared_ptr<v1::NodeCatalogueService::Stub>> stubs_
      ABSL_GUARDED_BY(mutex_);
};

}  // namespace

std::unique_ptr<NodeDirectory> MakeNodeDirectory(const ServiceConfig& config) {
  return std::make_unique<AccessDirectory>(config);
}

std::unique_ptr<NodeCounter> MakeNodeCounter(const ServiceConfig& config) {
  return std::make_unique<RelayCounter>(config);
}

}  // namespace oncomesh::catalogue
