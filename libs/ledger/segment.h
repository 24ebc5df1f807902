// SPDX-License-Identifier: Apache-2.0
// The files a log is made of (doc/formats/log.md): segments of frames. A group of leaves ends with
// a commit frame; what follows the last commit of the last segment was never acknowledged.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "libs/ledger/hash.h"

namespace oncomesh::ledger {

inline constexpr size_t kMaxLeafBytes = 64 << 10;
inline constexpr size_t kSegmentHeaderBytes = 24;
inline constexpr size_t kFrameHeaderBytes = 12;

// What a commit frame says: the log had `previous` entries, now has `size` with `root`.
struct Commit {
  uint64_t previous = 0;
  uint64_t size = 0;
  Hash root{};
};

struct Frame {
  enum class Kind { kLeaf, kCommit };
  Kind kind = Kind::kLeaf;
  uint64_t offset = 0;        // of the frame in the segment
  absl::string_view payload;  // into the segment's bytes
  Commit commit;              // when it is one
};

// The 24 bytes at the beginning of a segment whose first entry is number `first`.
std::string SegmentHeader(uint64_t first);
void AppendLeafFrame(absl::string_view leaf, std::string& out);
void AppendCommitFrame(const Commit& commit, std::string& out);

// Reads the frames of a segment one after the other.
class FrameReader {
 public:
  // `bytes` are those of the segment from `offset` on; they must outlive the reader.
  FrameReader(absl::string_view bytes, uint64_t offset) : bytes_(bytes), offset_(offset) {}

  // False at the end, or where no whole and sound frame follows: then `sound()` is false.
  bool Next(Frame& frame);
  bool sound() const { return sound_; }
  // Offset in the segment of the frame that comes next.
  uint64_t offset() const { return offset_; }
  // Bytes not read yet.
  absl::string_view rest() const { return bytes_; }

 private:
  absl::string_view bytes_;
  uint64_t offset_;
  bool sound_ = true;
};

// True when `bytes`, which begin with something broken, hold a commit of a group that began after
// entry `size`: then an acknowledged group stands behind the broken one, and it cannot have been
// torn by a crash. (A leaf cannot fake it: leaves of events hold no control characters.)
bool HoldsLaterCommit(absl::string_view bytes, uint64_t size);

// The entry number of the first frame. Errors: DATA_LOSS (LOG_CORRUPT).
absl::StatusOr<uint64_t> ParseSegmentHeader(absl::string_view bytes);

struct SegmentFile {
  uint64_t first = 0;  // number of its first entry
  std::string path;
};
// "<folder>/records/<16 hex digits>".
std::string SegmentPath(const std::string& folder, uint64_t first);
// In order of their first entry. Errors: DATA_LOSS (LOG_CORRUPT) for a file of another name.
absl::StatusOr<std::vector<SegmentFile>> ListSegments(const std::string& folder);
// How many of them, from the beginning, there are up to the last that holds more than its header.
// Those behind it were begun and hold nothing; a segment in between that holds nothing was given up
// while it was being begun, and its entries are in the one before it: it is taken out of
// `segments`. Errors: those of looking at a file.
absl::StatusOr<size_t> LeaveOutGivenUp(std::vector<SegmentFile>& segments);

}  // namespace oncomesh::ledger
