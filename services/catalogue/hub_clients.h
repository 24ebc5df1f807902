// SPDX-License-Identifier: Apache-2.0
// What the hub's catalogue asks of others: access for the members of the mesh, nodes for counts.
#pragma once

#include <memory>

#include "oncomesh/config/v1/service.pb.h"
#include "services/catalogue/federated_count.h"

namespace oncomesh::catalogue {

// The members that the hub's access service knows.
std::unique_ptr<NodeDirectory> MakeNodeDirectory(const oncomesh::config::v1::ServiceConfig& config);

// Nodes' catalogues through the hub's relay. Channels are kept, one per node.
std::unique_ptr<NodeCounter> MakeNodeCounter(const oncomesh::config::v1::ServiceConfig& config);

}  // namespace oncomesh::catalogue
