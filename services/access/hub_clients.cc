// SPDX-License-Identifier: Apache-2.0
#include "services/access/hub_clients.h"

#include <grpcpp/grpcpp.h>

#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "libs/base/error.h"
#include "libs/base/status_macros.h"
#include "libs/rpc/channel.h"
#include "libs/rpc/identity.h"
#include "libs/rpc/status.h"
#include "oncomesh/access/v1/trust.grpc.pb.h"
#include "oncomesh/catalogue/v1/catalogue.grpc.pb.h"
#include "oncomesh/relay/v1/relay.grpc.pb.h"

namespace oncomesh::access {
namespace {

constexpr absl::Duration kTimeout = absl::Seconds(5);
constexpr absl::Duration kPushTimeout = absl::Seconds(2);

rpc::ChannelOptions To(const config::v1::AccessConfig& config, const std::string& target,
                       const std::string& peer) {
  return {.target = target,
          .identity_dir = absl::StrCat(config.identity_root(), "/access"),
          .trust_domain = config.service().trust_domain(),
          .peer = peer,
          .node = ""};
}

class HubRelay final : public RelayControl {
 public:
  explicit HubRelay(const config::v1::AccessConfig& config)
      : stub_(relay::v1::RelayService::NewStub(
            rpc::Connect(To(config, config.service().relay_address(), "hub/relay")))) {}

  absl::StatusOr<std::vector<Presence>> Nodes() override {
    grpc::ClientContext context;
    rpc::SetDeadline(context, kTimeout);
    relay::v1::ListNodesResponse response;
    RETURN_IF_ERROR(rpc::FromGrpc(stub_->ListNodes(&context, {}, &response)));
    std::vector<Presence> out;
    for (const auto& node : response.nodes()) {
      Presence presence;
      presence.node = node.node();
      presence.connected = node.connected();
      presence.version = node.software_version();
      // A node that is here is seen now; one that left was seen last when it did.
      presence.last_seen =
          node.connected() ? absl::Now() : absl::FromUnixSeconds(node.since_time().seconds());
      out.push_back(std::move(presence));
    }
    return out;
  }

  absl::Status SetSuspended(const std::vector<std::string>& nodes, int64_t epoch,
                            const std::map<std::string, absl::Time>& certificates_from) override {
    grpc::ClientContext context;
    rpc::SetDeadline(context, kTimeout);
    relay::v1::SetSuspendedRequest request;
    for (const std::string& node : nodes) request.add_nodes(node);
    request.set_epoch(epoch);
    for (const auto& [node, from] : certificates_from) {
      (*request.mutable_certificates_from())[node] = absl::ToUnixSeconds(from);
    }
    relay::v1::SetSuspendedResponse response;
    return rpc::FromGrpc(stub_->SetSuspended(&context, request, &response));
  }

 private:
  std::unique_ptr<relay::v1::RelayService::Stub> stub_;
};

}  // namespace

std::unique_ptr<RelayControl> MakeRelayControl(const config::v1::AccessConfig& config) {
  return std::make_unique<HubRelay>(config);
}

DatasetLookup MakeDatasetLookup(const config::v1::AccessConfig& config) {
  std::shared_ptr<catalogue::v1::CatalogueService::Stub> stub =
      catalogue::v1::CatalogueService::NewStub(
          rpc::Connect(To(config, config.catalogue_address(), "hub/catalogue")));
  return [stub](const std::string& name) -> absl::StatusOr<DatasetFacts> {
    grpc::ClientContext context;
    rpc::SetDeadline(context, kTimeout);
    catalogue::v1::GetDatasetRequest request;
    request.set_name(name);
    catalogue::v1::GetDatasetResponse response;
    RETURN_IF_ERROR(rpc::FromGrpc(stub->GetDataset(&context, request, &response)));
    const auto& record = response.dataset();
    if (NodeOfDataset(record.name()).empty()) {
      return base::Error(absl::StatusCode::kNotFound, "DATASET_NOT_FOUND",
                         absl::StrCat("there is no published dataset ", name), {{"name", name}});
    }
    if (record.state() == catalogue::v1::DatasetRecord::STATE_WITHDRAWN) {
      return base::Error(absl::StatusCode::kFailedPrecondition, "DATASET_WITHDRAWN",
                         absl::StrCat(name,
                                      " was withdrawn by its holder; `oncomesh datasets "
                                      "list` shows those that can be asked for"),
                         {{"name", name}});
    }
    return DatasetFacts{record.name(), {record.duo_codes().begin(), record.duo_codes().end()}};
  };
}

SendTrust MakeSendTrust(const config::v1::AccessConfig& config) {
  return [config](const std::string& node, const v1::TrustBundle& bundle) {
    rpc::ChannelOptions options = To(config, config.service().relay_address(), "hub/relay");
    options.node = node;
    auto stub = v1::TrustService::NewStub(rpc::Connect(options));
    grpc::ClientContext context;
    rpc::SetDeadline(context, kPushTimeout);
    v1::PushTrustBundleRequest request;
    *request.mutable_bundle() = bundle;
    v1::PushTrustBundleResponse response;
    return stub->PushTrustBundle(&context, request, &response).ok();
  };
}

}  // namespace oncomesh::access
