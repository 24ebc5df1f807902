// SPDX-License-Identifier: Apache-2.0
#include "services/relay/relay_service.h"

#include <string>
#include <utility>
#include <vector>

#include "libs/base/status_macros.h"

namespace oncomesh::relay {

grpc::Status RelayServiceImpl::ListNodes(grpc::ServerContext* context,
                                         const v1::ListNodesRequest* request,
                                         v1::ListNodesResponse* response) {
  return guard_.Run(context, "/oncomesh.relay.v1.RelayService/ListNodes", *request,
                    [&](const rpc::Caller&) -> absl::Status {
                      ASSIGN_OR_RETURN(std::vector<v1::NodePresence> nodes, nodes_.List());
                      for (auto& node : nodes) *response->add_nodes() = std::move(node);
                      return absl::OkStatus();
                    });
}

grpc::Status RelayServiceImpl::DisconnectNode(grpc::ServerContext* context,
                                              const v1::DisconnectNodeRequest* request,
                                              v1::DisconnectNodeResponse*) {
  return guard_.Run(
      context, "/oncomesh.relay.v1.RelayService/DisconnectNode", *request,
      [&](const rpc::Caller&) { return nodes_.Disconnect(request->node(), request->reason()); });
}

grpc::Status RelayServiceImpl::SetSuspended(grpc::ServerContext* context,
                                            const v1::SetSuspendedRequest* request,
                                            v1::SetSuspendedResponse*) {
  return guard_.Run(
      context, "/oncomesh.relay.v1.RelayService/SetSuspended", *request, [&](const rpc::Caller&) {
        return nodes_.SetSuspended(
            {request->nodes().begin(), request->nodes().end()}, request->epoch(),
            {request->certificates_from().begin(), request->certificates_from().end()});
      });
}

}  // namespace oncomesh::relay
