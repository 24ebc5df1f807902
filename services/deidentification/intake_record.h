// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <map>
#include <string>

#include "absl/status/statusor.h"
#include "services/deidentification/intake.h"
#include "services/deidentification/manifest.h"

namespace oncomesh::deidentification {

// The signed record of what one call, or one look at a folder, took in: a manifest whose paths are
// the objects' names in the node's object store. One thread.
class IntakeRecord {
 public:
  // `deidentifier` must outlive it. `folder`: where manifests are kept.
  IntakeRecord(const Deidentifier& deidentifier, std::string site, std::string folder);

  // `index`: the sender's number for the object.
  void Add(uint64_t index, const IntakeResult& result);

  // Keeps the manifest as `<SHA-256 of its bytes>.jsonl`, durable, and returns it; an empty text,
  // and no file, when nothing was added. The same objects give the same file. Errors: those of the
  // disk.
  absl::StatusOr<std::string> Finish();

 private:
  const Deidentifier& deidentifier_;
  const std::string folder_;
  Manifest manifest_;
  std::map<std::string, ManifestEntry> entries_;  // by path: what was sent twice is there once
};

}  // namespace oncomesh::deidentification
