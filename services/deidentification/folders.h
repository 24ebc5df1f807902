// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include "absl/status/status.h"

namespace oncomesh::deidentification {

// Makes the names in a folder durable. Errors: those of the disk.
absl::Status SyncFolder(const std::string& path);

}  // namespace oncomesh::deidentification
