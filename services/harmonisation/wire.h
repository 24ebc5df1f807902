// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>

#include "absl/status/statusor.h"
#include "libs/rpc/service_runner.h"
#include "services/harmonisation/config.pb.h"

namespace oncomesh::harmonisation {

// Makes everything harmonisation owns. It runs at nodes only: at the hub there are no images.
// Errors: INVALID_ARGUMENT (CONFIG_INVALID), and those of the object stores.
absl::StatusOr<std::unique_ptr<rpc::App>> Wire(const config::v1::HarmonisationConfig& config,
                                               rpc::Role role);

}  // namespace oncomesh::harmonisation
