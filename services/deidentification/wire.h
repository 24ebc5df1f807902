// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "libs/rpc/service_runner.h"
#include "services/deidentification/config.pb.h"
#include "services/deidentification/release_store.h"

namespace oncomesh::deidentification {

// The project key of the file at `path`, which is made at the first start. Errors:
// FAILED_PRECONDITION (KEY_MISSING) when the file cannot be read and `store` has anything that was
// made with it, (KEY_CHANGED) when it holds another key than before; INVALID_ARGUMENT
// (KEY_INVALID); those of the disk.
absl::StatusOr<std::string> ProjectKey(const std::string& path, ReleaseStore& store);

// Makes the service from its configuration. Errors: INVALID_ARGUMENT (CONFIG_INVALID), those of the
// profile, the key file, the database and the folders.
absl::StatusOr<std::unique_ptr<rpc::App>> Wire(const config::v1::DeidentificationConfig& config,
                                               rpc::Role role);

}  // namespace oncomesh::deidentification
