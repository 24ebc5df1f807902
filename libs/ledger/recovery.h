// SPDX-License-Identifier: Apache-2.0
// From a folder as a crash may have left it to the log as it was acknowledged.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "libs/ledger/derived_files.h"
#include "libs/ledger/tree.h"

namespace oncomesh::ledger {

struct Recovered {
  Frontier frontier;
  std::vector<uint64_t> segments;  // first entries; empty for a new log
  uint64_t end = 0;                // offset behind the last commit in the last segment
  uint64_t marked = 0;             // the derived files were durable up to this entry
  uint64_t dropped_bytes = 0;      // cut off: never acknowledged
};

// Reads the segments from the marker on, checks every commit's root, completes the derived files
// and cuts off what follows the last commit. Errors: DATA_LOSS (LOG_CORRUPT).
absl::StatusOr<Recovered> Recover(const std::string& folder, DerivedFiles& derived,
                                  const std::function<uint64_t(absl::string_view)>& tag);

}  // namespace oncomesh::ledger
