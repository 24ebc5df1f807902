// SPDX-License-Identifier: Apache-2.0
// Checks a log's folder from the bytes up, trusting none of it; what `audit verify` runs.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "libs/ledger/checkpoint.h"
#include "libs/ledger/hash.h"

namespace oncomesh::ledger {

struct Finding {
  std::string reason;  // LOG_CORRUPT, LOG_TRUNCATED, HASHES_DAMAGED, CHECKPOINT_…, NOTE_…
  std::string what;
  uint64_t index = 0;  // the entry at which it was found
};

struct FolderReport {
  uint64_t size = 0;  // entries that could be read and belong to a commit
  Hash root{};
  uint64_t bytes = 0;
  uint64_t segments = 0;
  // After the last commit: unfinished work of a crash, or of a service that is writing now.
  uint64_t unfinished_bytes = 0;
  uint64_t checkpoint_size = 0;   // of the stored checkpoint, when it is genuine; else 0
  std::vector<Finding> findings;  // empty: the log is what it says it is; at most 100
  bool ok() const { return findings.empty(); }
};

// Reads every entry of `folder`, which may be in use; writes nothing. `key` is the log's verifier
// key; `known` are checkpoints of this log that the reader has kept from elsewhere (notes signed by
// that key): each must be a beginning of the log. `each`, when given, sees every entry.
// Errors: NOT_FOUND when there is no such folder; everything else is a finding.
absl::StatusOr<FolderReport> VerifyFolder(
    const std::string& folder, const NoteKey& key, const std::vector<std::string>& known = {},
    absl::FunctionRef<void(uint64_t index, absl::string_view leaf)> each =
        [](uint64_t, absl::string_view) {});

}  // namespace oncomesh::ledger
