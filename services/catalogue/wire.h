// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>

#include "absl/status/statusor.h"
#include "libs/rpc/service_runner.h"
#include "services/catalogue/config.pb.h"

namespace oncomesh::catalogue {

// Makes everything the catalogue owns, at the hub or at a node.
absl::StatusOr<std::unique_ptr<rpc::App>> Wire(const config::v1::CatalogueConfig& config,
                                               rpc::Role role);

}  // namespace oncomesh::catalogue
