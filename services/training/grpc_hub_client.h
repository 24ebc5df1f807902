// SPDX-License-Identifier: Apache-2.0
// The hub's TaskService through a channel.
#pragma once

#include <grpcpp/channel.h>

#include <memory>

#include "services/training/hub_client.h"

namespace oncomesh::training {

std::unique_ptr<HubClient> MakeGrpcHubClient(std::shared_ptr<grpc::Channel> channel);

}  // namespace oncomesh::training
