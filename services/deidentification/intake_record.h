// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "services/deidentification/intake.h"
#include "services/deidentification/manifest.h"

namespace oncomesh::deidentification {

// The signed record of what one call, one look at a folder or one release from quarantine took in:
// a manifest whose paths are the objects' names in the node's object store. Until it is written,
// what was kept so far stands in a journal beside it (`<id>.open`: the manifests of the batches,
// one after the other), so that it survives the process. One thread.
class IntakeRecord {
 public:
  // `deidentifier` must outlive it. `folder`: where manifests are kept.
  IntakeRecord(const Deidentifier& deidentifier, std::string site, std::string folder);
  // As Finish, for what nobody finished.
  ~IntakeRecord();
  IntakeRecord(const IntakeRecord&) = delete;
  IntakeRecord& operator=(const IntakeRecord&) = delete;

  // Makes the manifests of the journals that ended processes left in `folder`. No record may be
  // open there. Errors: those of the disk.
  static absl::Status Recover(const Deidentifier& deidentifier, const std::string& folder);

  // `index`: the sender's number for the object.
  void Add(uint64_t index, const IntakeResult& result);

  // Makes what was added durable; before an answer is given, or a source removed. Errors: those of
  // the disk.
  absl::Status Keep();

  // Keeps the manifest as `<SHA-256 of its bytes>.jsonl`, durable, and returns it; an empty text,
  // and no file, when nothing was added. The same objects give the same file. Errors: those of the
  // disk.
  absl::StatusOr<std::string> Finish();

 private:
  const Deidentifier& deidentifier_;
  const std::string folder_;
  // Appends to the journal. Errors: those of the disk.
  absl::Status Append(absl::string_view text);

  const Manifest heading_;
  Manifest batch_;       // not in the journal yet
  Manifest manifest_;    // all of it; of the entries the repeated ones, too
  std::string journal_;  // path; empty: none yet
  bool named_ = false;   // its name is durable
};

}  // namespace oncomesh::deidentification
