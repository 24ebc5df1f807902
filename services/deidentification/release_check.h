// SPDX-License-Identifier: Apache-2.0
// Checks a released folder: that it is what its manifest says, and, with the source at hand, that
// nothing which points at a patient is left anywhere in the bytes.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "services/deidentification/deidentifier.h"
#include "services/deidentification/identifier_search.h"
#include "services/deidentification/manifest.h"

namespace oncomesh::deidentification {

struct ReleaseFinding {
  enum class Kind {
    kMissing,   // in the manifest, not in the folder
    kChanged,   // other bytes than the manifest says
    kUnlisted,  // in the folder, not in the manifest
    kResidual,  // an identifier of the source is in the released bytes
    // With a source: an object that no source leads to, or one of the two cannot be read.
    kUnsearched,
  };
  Kind kind;
  std::string path;    // below the folder
  std::string detail;  // of kResidual: what kind of value it is ("name", "uid", …), never the value
};
const char* FindingName(ReleaseFinding::Kind kind);

struct ReleaseReport {
  std::string project, profile, key_id;
  std::string public_key;          // 32 bytes, that made the manifest's signature
  bool signed_by_project = false;  // the signature is by the project key or public key given
  uint64_t objects = 0;            // listed and right
  // With the source: objects whose output was found and searched, and strings looked for.
  uint64_t searched = 0;
  uint64_t identifiers = 0;
  std::vector<ReleaseFinding> findings;
};

struct ReleaseCheckOptions {
  std::string folder;
  std::string manifest_path;
  // The source and what it was de-identified with; null: no residual search.
  std::vector<std::string> source;
  const Deidentifier* deidentifier = nullptr;
  // Who must have signed the manifest, 32 bytes; empty: not compared with anything. For whoever
  // gets a folder and has no project key.
  std::string public_key;
  std::function<void(uint64_t files, uint64_t bytes)> progress;
};

// Without a deidentifier and a public key the signature shows only that the manifest is whole: the
// key that it is verified with stands in it, and anybody can sign anew.
// Errors: NOT_FOUND, INVALID_ARGUMENT (MANIFEST_INVALID), DATA_LOSS (MANIFEST_SIGNATURE),
// FAILED_PRECONDITION (KEY_NOT_OF_MANIFEST) when the project key or the public key is not the one
// the manifest was signed with,
// FAILED_PRECONDITION (CODES_NOT_LINKABLE) for a source search of a profile without linkable codes.
absl::StatusOr<ReleaseReport> CheckRelease(const ReleaseCheckOptions& options);

// The strings of one source object that may not be in its output, in their spellings: names by
// word and as a whole, identifiers, UIDs, dates in several forms, free text; as they are, in the
// other of UTF-8 and Latin-1, and in UTF-16.
class SourceIdentifiers {
 public:
  // Reads the header of a DICOM file. Errors: INVALID_ARGUMENT when it has none.
  static absl::StatusOr<SourceIdentifiers> Read(const std::string& path,
                                                const Deidentifier& deidentifier);

  const IdentifierSearch& search() const { return search_; }
  // Kind of the string with the number that IdentifierSearch::Find gives.
  const std::string& KindOf(size_t number) const { return kinds_[number]; }
  size_t size() const { return kinds_.size(); }

  void Add(absl::string_view text, const std::string& kind);
  // After the last Add.
  void Finish() { search_.Finish(); }

 private:
  IdentifierSearch search_;
  std::vector<std::string> kinds_;
};

// Searches a whole file, in parts; a deflated one as what it inflates to. In pixel data only
// strings of at least eight bytes count: four letters turn up there by chance. Returns the kinds
// found. Errors: those of the disk; INVALID_ARGUMENT (DEFLATE_INVALID).
absl::StatusOr<std::vector<std::string>> SearchFile(const std::string& path,
                                                    const SourceIdentifiers& identifiers);

}  // namespace oncomesh::deidentification
