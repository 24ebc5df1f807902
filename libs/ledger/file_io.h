// SPDX-License-Identifier: Apache-2.0
// Whole reads and writes at a place of a file.
#pragma once

#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace oncomesh::ledger {

// Errors: those of base::ErrnoStatus.
absl::Status WriteAt(int fd, uint64_t offset, absl::string_view bytes);
// At most `size` bytes: fewer at the end of the file.
absl::StatusOr<std::string> ReadAt(int fd, uint64_t offset, size_t size);
absl::StatusOr<int> OpenFile(const std::string& path, int flags);
// -1 when it has none.
int64_t SizeOf(int fd);

absl::Status Corrupt(absl::string_view what);  // DATA_LOSS (LOG_CORRUPT)

}  // namespace oncomesh::ledger
