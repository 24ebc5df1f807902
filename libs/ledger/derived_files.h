// SPDX-License-Identifier: Apache-2.0
// What is kept beside a log's segments so that proofs and reads need no search: the hashes of the
// tree and the places of the entries. Both follow from the segments and are made anew when missing.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "libs/ledger/hash.h"

namespace oncomesh::ledger {

struct Place {
  uint64_t offset = 0;  // of the entry's frame in its segment
  uint64_t tag = 0;
};

// Up to where the derived files are known to be durable, and where in the segments that is.
struct Marker {
  uint64_t size = 0;
  Hash root{};
  uint64_t segment_first = 0;
  uint64_t offset = 0;
};

// `<folder>/hashes`: 32 bytes a node in the order of NodePosition. `<folder>/places`: 16 bytes an
// entry. One writer; reading below what is written is safe from any thread.
class DerivedFiles {
 public:
  static absl::StatusOr<std::unique_ptr<DerivedFiles>> Open(const std::string& folder);
  // Errors: NOT_FOUND when they are missing.
  static absl::StatusOr<std::unique_ptr<DerivedFiles>> OpenReadOnly(const std::string& folder);
  ~DerivedFiles();
  DerivedFiles(const DerivedFiles&) = delete;
  DerivedFiles& operator=(const DerivedFiles&) = delete;

  // Writes behind the first `size` entries. Errors: those of the disk.
  absl::Status Write(uint64_t size, const std::string& hashes, const std::string& places);
  // Errors: DATA_LOSS (LOG_CORRUPT) when the file is too short.
  absl::StatusOr<Hash> ReadHash(uint64_t position) const;
  absl::StatusOr<Place> ReadPlace(uint64_t index) const;
  // `count` places from `first` on, 16 bytes each.
  absl::StatusOr<std::string> ReadPlaces(uint64_t first, uint64_t count) const;

  absl::Status Sync() const;
  // The marker, when there is one and the files are long enough for it.
  std::optional<Marker> ReadMarker() const;
  // Syncs the files first.
  absl::Status WriteMarker(const Marker& marker) const;

 private:
  static absl::StatusOr<std::unique_ptr<DerivedFiles>> OpenWith(const std::string& folder,
                                                                int flags);
  explicit DerivedFiles(std::string folder) : folder_(std::move(folder)) {}
  std::string folder_;
  int hashes_ = -1;
  int places_ = -1;
};

}  // namespace oncomesh::ledger
