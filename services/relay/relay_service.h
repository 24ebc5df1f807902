// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "libs/rpc/call_guard.h"
#include "oncomesh/relay/v1/relay.grpc.pb.h"
#include "services/relay/node_directory.h"

namespace oncomesh::relay {

class RelayServiceImpl final : public v1::RelayService::Service {
 public:
  RelayServiceImpl(rpc::CallGuard& guard, NodeDirectory& nodes) : guard_(guard), nodes_(nodes) {}

  grpc::Status ListNodes(grpc::ServerContext* context, const v1::ListNodesRequest* request,
                         v1::ListNodesResponse* response) override;
  grpc::Status DisconnectNode(grpc::ServerContext* context,
                              const v1::DisconnectNodeRequest* request,
                              v1::DisconnectNodeResponse* response) override;
  grpc::Status SetSuspended(grpc::ServerContext* context, const v1::SetSuspendedRequest* request,
                            v1::SetSuspendedResponse* response) override;

 private:
  rpc::CallGuard& guard_;
  NodeDirectory& nodes_;
};

}  // namespace oncomesh::relay
