// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>

#include "absl/status/statusor.h"
#include "oncomesh/catalogue/v1/node_catalogue.grpc.pb.h"

namespace oncomesh::cli {

// Has the node take what was released into its index, so that it can be counted and frozen when
// this returns. Errors: those of the call.
absl::StatusOr<catalogue::v1::IndexStatus> SyncIndex(
    catalogue::v1::NodeCatalogueService::Stub& stub);

// What the index holds, every number of it, also those that are zero.
nlohmann::json IndexJson(const catalogue::v1::IndexStatus& status);
std::string IndexText(const catalogue::v1::IndexStatus& status);

}  // namespace oncomesh::cli
