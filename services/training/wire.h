// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>

#include "absl/status/statusor.h"
#include "libs/rpc/service_runner.h"
#include "services/training/config.pb.h"

namespace oncomesh::training {

// Makes everything the training service owns, at the hub or at a node.
absl::StatusOr<std::unique_ptr<rpc::App>> Wire(const config::v1::TrainingConfig& config,
                                               rpc::Role role);

}  // namespace oncomesh::training
