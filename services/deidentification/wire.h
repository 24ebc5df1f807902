// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>

#include "absl/status/statusor.h"
#include "libs/rpc/service_runner.h"
#include "services/deidentification/config.pb.h"

namespace oncomesh::deidentification {

// Makes the service from its configuration. Errors: INVALID_ARGUMENT (CONFIG_INVALID), those of the
// profile, the key file, the database and the folders.
absl::StatusOr<std::unique_ptr<rpc::App>> Wire(const config::v1::DeidentificationConfig& config,
                                               rpc::Role role);

}  // namespace oncomesh::deidentification
