// SPDX-License-Identifier: Apache-2.0
#include "services/deidentification/intake_record.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "libs/base/error.h"
#include "libs/base/files.h"
#include "libs/base/log.h"
#include "libs/base/random.h"
#include "libs/base/status_macros.h"
#include "libs/crypto/digest.h"
#include "services/deidentification/folders.h"

namespace oncomesh::deidentification {
namespace {

constexpr char kOpen[] = ".open";

void AddAll(const Manifest& from, Manifest& to) {
  to.entries.insert(to.entries.end(), from.entries.begin(), from.entries.end());
  to.quarantined.insert(to.quarantined.end(), from.quarantined.begin(), from.quarantined.end());
}

// What was sent twice is there once, as it was first.
void RemoveRepeated(std::vector<ManifestEntry>& entries) {
  std::stable_sort(entries.begin(), entries.end(),
                   [](const ManifestEntry& a, const ManifestEntry& b) { return a.path < b.path; });
  entries.erase(
      std::unique(entries.begin(), entries.end(),
                  [](const ManifestEntry& a, const ManifestEntry& b) { return a.path == b.path; }),
      entries.end());
}

absl::StatusOr<std::string> Write(Manifest manifest, const Deidentifier& deidentifier,
                                  const std::string& folder) {
  RemoveRepeated(manifest.entries);
  std::string text = WriteManifest(std::move(manifest), ManifestKey(deidentifier.project_keys()));
  RETURN_IF_ERROR(base::WriteFileAtomically(
      absl::StrCat(folder, "/", crypto::Sha256Hex(text), ".jsonl"), text, 0600));
  return text;
}

// The batches of a journal. One that is not whole was not told to anybody.
Manifest ReadJournal(absl::string_view journal) {
  Manifest out;
  constexpr absl::string_view kStart = "{\"format\"";
  for (size_t at = 0; at < journal.size();) {
    size_t next = journal.find(absl::StrCat("\n", kStart), at);
    next = next == absl::string_view::npos ? journal.size() : next + 1;
    absl::StatusOr<ReadManifestResult> batch = ReadManifest(journal.substr(at, next - at));
    at = next;
    if (!batch.ok()) continue;
    if (out.profile_digest.empty()) {
      out = std::move(batch->manifest);
    } else {
      AddAll(batch->manifest, out);
    }
  }
  return out;
}

}  // namespace

IntakeRecord::IntakeRecord(const Deidentifier& deidentifier, std::string site, std::string folder)
    : deidentifier_(deidentifier),
      folder_(std::move(folder)),
      heading_(NewManifest(deidentifier, site)),
      batch_(heading_),
      manifest_(heading_) {}

IntakeRecord::~IntakeRecord() {
  if (absl::Status kept = Finish().status(); !kept.ok()) {
    base::LogError("intake.manifest_failed", kept);
  }
}

absl::Status IntakeRecord::Recover(const Deidentifier& deidentifier, const std::string& folder) {
  ASSIGN_OR_RETURN(std::vector<std::string> files, base::ListFiles(folder));
  for (const std::string& path : files) {
    if (!absl::EndsWith(path, kOpen)) continue;
    ASSIGN_OR_RETURN(std::string journal, base::ReadFile(path));
    Manifest manifest = ReadJournal(journal);
    const bool empty = manifest.entries.empty() && manifest.quarantined.empty();
    if (!empty) RETURN_IF_ERROR(Write(std::move(manifest), deidentifier, folder).status());
    if (unlink(path.c_str()) != 0) return base::ErrnoStatus(errno, "remove a finished journal");
  }
  return absl::OkStatus();
}

void IntakeRecord::Add(uint64_t index, const IntakeResult& result) {
  if (result.state == IntakeResult::State::kReleased) {
    ManifestEntry entry;
    entry.path = result.sha256;
    entry.sha256 = result.sha256;
    entry.bytes = result.bytes;
    entry.done = result.done;
    entry.table = result.table;
    entry.rows = result.rows;
    batch_.entries.push_back(std::move(entry));
  }
  // Of a table some rows of which were not released there is both.
  if (!result.reason.empty()) batch_.quarantined.push_back({index, result.reason});
}

absl::Status IntakeRecord::Append(absl::string_view text) {
  if (journal_.empty()) journal_ = absl::StrCat(folder_, "/", base::NewId("record-"), kOpen);
  int fd = open(journal_.c_str(), O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
  if (fd < 0) return base::ErrnoStatus(errno, "open the journal of what was taken in");
  absl::Status status;
  while (!text.empty() && status.ok()) {
    ssize_t wrote = write(fd, text.data(), text.size());
    if (wrote < 0 && errno == EINTR) continue;
    if (wrote < 0) {
      status = base::ErrnoStatus(errno, "write the journal of what was taken in");
    } else {
      text.remove_prefix(static_cast<size_t>(wrote));
    }
  }
  if (status.ok() && fdatasync(fd) != 0) {
    status = base::ErrnoStatus(errno, "keep the journal of what was taken in");
  }
  close(fd);
  if (status.ok() && !named_) status = SyncFolder(folder_);
  named_ = named_ || status.ok();
  return status;
}

absl::Status IntakeRecord::Keep() {
  if (batch_.entries.empty() && batch_.quarantined.empty()) return absl::OkStatus();
  Manifest batch = std::exchange(batch_, heading_);
  AddAll(batch, manifest_);
  RemoveRepeated(batch.entries);
  return Append(WriteManifest(std::move(batch), ManifestKey(deidentifier_.project_keys())));
}

absl::StatusOr<std::string> IntakeRecord::Finish() {
  AddAll(std::exchange(batch_, heading_), manifest_);
  Manifest manifest = std::exchange(manifest_, heading_);
  std::string text;
  if (!manifest.entries.empty() || !manifest.quarantined.empty()) {
    ASSIGN_OR_RETURN(text, Write(std::move(manifest), deidentifier_, folder_));
    if (!journal_.empty()) unlink(std::exchange(journal_, std::string()).c_str());
    named_ = false;
  }
  return text;
}

}  // namespace oncomesh::deidentification
