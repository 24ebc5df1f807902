// SPDX-License-Identifier: Apache-2.0
#include "libs/ledger/derived_files.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <vector>

#include "absl/strings/escaping.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "libs/base/files.h"
#include "libs/base/status_macros.h"
#include "libs/ledger/bytes.h"
#include "libs/ledger/file_io.h"
#include "libs/ledger/tree.h"

namespace oncomesh::ledger {
namespace {

constexpr size_t kHashBytes = 32, kPlaceBytes = 16;
constexpr char kMarkerTitle[] = "oncomesh-log-marker/1";

}  // namespace

absl::StatusOr<std::unique_ptr<DerivedFiles>> DerivedFiles::Open(const std::string& folder) {
  return OpenWith(folder, O_RDWR | O_CREAT);
}

absl::StatusOr<std::unique_ptr<DerivedFiles>> DerivedFiles::OpenReadOnly(
    const std::string& folder) {
  return OpenWith(folder, O_RDONLY);
}

absl::StatusOr<std::unique_ptr<DerivedFiles>> DerivedFiles::OpenWith(const std::string& folder,
                                                                     int flags) {
  std::unique_ptr<DerivedFiles> out(new DerivedFiles(folder));
  ASSIGN_OR_RETURN(out->hashes_, OpenFile(folder + "/hashes", flags));
  ASSIGN_OR_RETURN(out->places_, OpenFile(folder + "/places", flags));
  return out;
}

DerivedFiles::~DerivedFiles() {
  if (hashes_ >= 0) close(hashes_);
  if (places_ >= 0) close(places_);
}

absl::Status DerivedFiles::Write(uint64_t size, const std::string& hashes,
                                 const std::string& places) {
  RETURN_IF_ERROR(WriteAt(hashes_, NodeCount(size) * kHashBytes, hashes));
  return WriteAt(places_, size * kPlaceBytes, places);
}

absl::StatusOr<Hash> DerivedFiles::ReadHash(uint64_t position) const {
  ASSIGN_OR_RETURN(std::string bytes, ReadAt(hashes_, position * kHashBytes, kHashBytes));
  Hash out;
  if (!ToHash(bytes, out)) return Corrupt("its hashes are incomplete");
  return out;
}

absl::StatusOr<Place> DerivedFiles::ReadPlace(uint64_t index) const {
  ASSIGN_OR_RETURN(std::string bytes, ReadPlaces(index, 1));
  return Place{ReadU64(bytes), ReadU64(absl::string_view(bytes).substr(8))};
}

absl::StatusOr<std::string> DerivedFiles::ReadPlaces(uint64_t first, uint64_t count) const {
  ASSIGN_OR_RETURN(std::string bytes, ReadAt(places_, first * kPlaceBytes, count * kPlaceBytes));
  if (bytes.size() != count * kPlaceBytes) return Corrupt("its places are incomplete");
  return bytes;
}

absl::Status DerivedFiles::Sync() const {
  if (fdatasync(hashes_) != 0 || fdatasync(places_) != 0) {
    return base::ErrnoStatus(errno, "make the audit log durable");
  }
  return absl::OkStatus();
}

std::optional<Marker> DerivedFiles::ReadMarker() const {
  absl::StatusOr<std::string> text = base::ReadFile(folder_ + "/marker", 1024);
  if (!text.ok()) return std::nullopt;
  const std::vector<std::string> lines = absl::StrSplit(*text, '\n');
  Marker out;
  if (lines.size() != 6 || lines[0] != kMarkerTitle || !absl::SimpleAtoi(lines[1], &out.size) ||
      lines[2].size() != 2 * kHashBytes || !ToHash(absl::HexStringToBytes(lines[2]), out.root) ||
      !absl::SimpleAtoi(lines[3], &out.segment_first) || !absl::SimpleAtoi(lines[4], &out.offset)) {
    return std::nullopt;
  }
  if (SizeOf(hashes_) < static_cast<int64_t>(NodeCount(out.size) * kHashBytes) ||
      SizeOf(places_) < static_cast<int64_t>(out.size * kPlaceBytes)) {
    return std::nullopt;
  }
  return out;
}

absl::Status DerivedFiles::WriteMarker(const Marker& marker) const {
  RETURN_IF_ERROR(Sync());
  return base::WriteFileAtomically(
      folder_ + "/marker", absl::StrCat(kMarkerTitle, "\n", marker.size, "\n", Hex(marker.root),
                                        "\n", marker.segment_first, "\n", marker.offset, "\n"));
}

}  // namespace oncomesh::ledger
