// SPDX-License-Identifier: Apache-2.0
// The record of one de-identification run: what was written, its hashes, what was done how often,
// and with which rules; signed. It holds no value of the source. Format: doc/formats/manifest.md.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "libs/crypto/keys.h"
#include "services/deidentification/deidentifier.h"

namespace oncomesh::deidentification {

inline constexpr char kManifestFormat[] = "oncomesh-deid-manifest/1";
inline constexpr size_t kMaxManifestBytes = 4ull << 30;

struct ManifestEntry {
  std::string path;  // below the output folder
  std::string sha256;
  uint64_t bytes = 0;
  DoneCounts done{};
  // A clinical table instead of a DICOM object.
  bool table = false;
  uint64_t rows = 0;
};

struct ManifestQuarantine {
  uint64_t index = 0;  // of the input in the byte order of its path, from 0
  std::string reason;
};

struct Manifest {
  std::string project;
  std::string profile;         // name
  std::string profile_digest;  // hexadecimal SHA-256 of its JSON
  std::string rule_table_edition, rule_table_sha256, safe_private_sha256;
  std::string key_id;  // which project key, without telling it
  std::vector<ManifestEntry> entries;
  std::vector<ManifestQuarantine> quarantined;
};

// A manifest with the header of `deidentifier` and nothing in it yet.
Manifest NewManifest(const Deidentifier& deidentifier, absl::string_view project);

// The key that signs the manifests of a project.
crypto::PrivateKey ManifestKey(const Keys& project_keys);

// JSON lines: a header, an entry per object in the order of paths, a line per quarantined input,
// the signature over all bytes before it. The same manifest gives the same bytes.
std::string WriteManifest(Manifest manifest, const crypto::PrivateKey& key);

struct ReadManifestResult {
  Manifest manifest;
  std::string public_key;  // 32 bytes, of the signature that was verified
};
// Reads and verifies. Errors: INVALID_ARGUMENT (MANIFEST_INVALID) when it is not one,
// DATA_LOSS (MANIFEST_SIGNATURE) when the signature is not over these bytes.
absl::StatusOr<ReadManifestResult> ReadManifest(absl::string_view text);

// The counts by their names, those that are not zero.
std::map<std::string, uint32_t> DoneByName(const DoneCounts& done);

}  // namespace oncomesh::deidentification
