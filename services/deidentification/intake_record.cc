// SPDX-License-Identifier: Apache-2.0
#include "services/deidentification/intake_record.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "libs/base/files.h"
#include "libs/base/status_macros.h"
#include "libs/crypto/digest.h"

namespace oncomesh::deidentification {

IntakeRecord::IntakeRecord(const Deidentifier& deidentifier, std::string site, std::string folder)
    : deidentifier_(deidentifier),
      folder_(std::move(folder)),
      manifest_(NewManifest(deidentifier, site)) {}

void IntakeRecord::Add(uint64_t index, const IntakeResult& result) {
  if (result.state == IntakeResult::State::kReleased) {
    ManifestEntry entry;
    entry.path = result.sha256;
    entry.sha256 = result.sha256;
    entry.bytes = result.bytes;
    entry.done = result.done;
    entry.table = result.table;
    entry.rows = result.rows;
    entries_.emplace(entry.path, std::move(entry));
  }
  // Of a table some rows of which were not released there is both.
  if (!result.reason.empty()) manifest_.quarantined.push_back({index, result.reason});
}

absl::StatusOr<std::string> IntakeRecord::Finish() {
  if (entries_.empty() && manifest_.quarantined.empty()) return std::string();
  for (auto& [path, entry] : std::exchange(entries_, {})) {
    manifest_.entries.push_back(std::move(entry));
  }
  std::string text = WriteManifest(std::move(manifest_), ManifestKey(deidentifier_.project_keys()));
  RETURN_IF_ERROR(base::WriteFileAtomically(
      absl::StrCat(folder_, "/", crypto::Sha256Hex(text), ".jsonl"), text, 0600));
  return text;
}

}  // namespace oncomesh::deidentification
