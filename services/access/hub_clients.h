// SPDX-License-Identifier: Apache-2.0
// What the hub's access service asks of its neighbours: the relay (who is there, who is kept out),
// the catalogue (is there such a dataset), and the access services of nodes (take this bundle).
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "services/access/access_service.h"
#include "services/access/config.pb.h"
#include "services/access/enrolment.h"
#include "services/access/requests.h"

namespace oncomesh::access {

std::unique_ptr<RelayControl> MakeRelayControl(const config::v1::AccessConfig& config);

DatasetLookup MakeDatasetLookup(const config::v1::AccessConfig& config);

// Through the hub's relay, at most 2 s per node.
SendTrust MakeSendTrust(const config::v1::AccessConfig& config);

}  // namespace oncomesh::access
