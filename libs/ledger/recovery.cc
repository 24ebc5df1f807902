// SPDX-License-Identifier: Apache-2.0
#include "libs/ledger/recovery.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <utility>

#include "absl/strings/str_cat.h"
#include "libs/base/files.h"
#include "libs/base/status_macros.h"
#include "libs/ledger/bytes.h"
#include "libs/ledger/file_io.h"
#include "libs/ledger/segment.h"

namespace oncomesh::ledger {
namespace {

struct Descriptor {
  explicit Descriptor(int value) : fd(value) {}
  ~Descriptor() { close(fd); }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  const int fd;
};

class Recovery {
 public:
  Recovery(const std::string& folder, DerivedFiles& derived,
           const std::function<uint64_t(absl::string_view)>& tag)
      : folder_(folder), derived_(derived), tag_(tag) {}

  absl::StatusOr<Recovered> Run() {
    ASSIGN_OR_RETURN(files_, ListSegments(folder_));
    RETURN_IF_ERROR(DropUnbegunSegment());
    ASSIGN_OR_RETURN(holding_, LeaveOutGivenUp(files_));
    size_t begin = 0;
    uint64_t offset = kSegmentHeaderBytes;
    TakeMarker(begin, offset);
    for (size_t number = 0; number < files_.size(); ++number) {
      // Begun in vain: the entry that it was begun for is in the segment before it.
      if (number > begin && number >= holding_ && files_[number].first < out_.frontier.size()) {
        continue;
      }
      if (number >= begin) {
        RETURN_IF_ERROR(ReadSegment(number, number == begin ? offset : kSegmentHeaderBytes));
      }
      out_.segments.push_back(files_[number].first);
    }
    return std::move(out_);
  }

 private:
  // A crash while a segment was being begun leaves one without a whole header: it holds nothing.
  absl::Status DropUnbegunSegment() {
    if (files_.empty()) return absl::OkStatus();
    ASSIGN_OR_RETURN(int fd, OpenFile(files_.back().path, O_RDONLY));
    const Descriptor file(fd);
    if (SizeOf(fd) >= static_cast<int64_t>(kSegmentHeaderBytes)) return absl::OkStatus();
    if (unlink(files_.back().path.c_str()) != 0) {
      return base::ErrnoStatus(errno, "remove an empty file of the audit log");
    }
    files_.pop_back();
    return absl::OkStatus();
  }

  // Begins where the derived files are known to be good, or at the beginning.
  void TakeMarker(size_t& number, uint64_t& offset) {
    const std::optional<Marker> marker = derived_.ReadMarker();
    if (!marker.has_value()) return;
    size_t at = 0;
    while (at < files_.size() && files_[at].first != marker->segment_first) ++at;
    if (at == files_.size()) return;
    auto read = [&](uint64_t position) { return derived_.ReadHash(position); };
    absl::StatusOr<Frontier> frontier = TreeReader(read).FrontierAt(marker->size);
    if (!frontier.ok() || frontier->Root() != marker->root) return;
    out_.frontier = *std::move(frontier);
    out_.marked = marker->size;
    number = at;
    offset = marker->offset;
  }

  absl::Status ReadSegment(size_t number, uint64_t offset) {
    const SegmentFile& file = files_[number];
    ASSIGN_OR_RETURN(int fd, OpenFile(file.path, O_RDWR));
    const Descriptor descriptor(fd);
    ASSIGN_OR_RETURN(std::string header, ReadAt(fd, 0, kSegmentHeaderBytes));
    ASSIGN_OR_RETURN(uint64_t first, ParseSegmentHeader(header));
    const bool begins = offset == kSegmentHeaderBytes;
    if (first != file.first || (begins && first != out_.frontier.size())) {
      return Corrupt("an entry is missing between two of its files");
    }
    const int64_t size = SizeOf(fd);
    if (size < static_cast<int64_t>(offset)) return Corrupt("one of its files is cut short");
    ASSIGN_OR_RETURN(std::string bytes, ReadAt(fd, offset, static_cast<size_t>(size) - offset));
    uint64_t end = offset;
    ASSIGN_OR_RETURN(absl::string_view rest, ReadGroups(bytes, offset, end));
    out_.end = end;
    if (rest.empty()) return absl::OkStatus();
    // Something follows the last commit. A crash can leave that at the end of the log only, and
    // with no later group behind it.
    if (number + 1 < holding_ || HoldsLaterCommit(rest, out_.frontier.size())) {
      return Corrupt("an acknowledged entry cannot be read");
    }
    out_.dropped_bytes += rest.size();
    if (ftruncate(fd, static_cast<off_t>(end)) != 0 || fdatasync(fd) != 0) {
      return base::ErrnoStatus(errno, "cut off the audit log's unfinished end");
    }
    return absl::OkStatus();
  }

  // Takes whole groups; `end` is the offset behind the last one. Returns the bytes that follow.
  absl::StatusOr<absl::string_view> ReadGroups(absl::string_view bytes, uint64_t offset,
                                               uint64_t& end) {
    FrameReader reader(bytes, offset);
    absl::string_view rest = bytes;
    Frontier frontier = out_.frontier;
    uint64_t written = frontier.size();
    std::string hashes, places;
    auto flush = [&]() -> absl::Status {
      RETURN_IF_ERROR(derived_.Write(written, hashes, places));
      written = out_.frontier.size();
      hashes.clear();
      places.clear();
      return absl::OkStatus();
    };
    Frame frame;
    while (reader.Next(frame)) {
      if (frame.kind == Frame::Kind::kLeaf) {
        frontier.Append(LeafHash(frame.payload),
                        [&](const Hash& hash) { absl::StrAppend(&hashes, View(hash)); });
        AppendU64(frame.offset, places);
        AppendU64(tag_ ? tag_(frame.payload) : 0, places);
        continue;
      }
      if (frame.commit.previous != out_.frontier.size() || frame.commit.size != frontier.size() ||
          frame.commit.root != frontier.Root()) {
        return Corrupt("its entries are not those that were acknowledged");
      }
      out_.frontier = frontier;
      end = reader.offset();
      rest = reader.rest();
      if (hashes.size() > (1 << 20)) RETURN_IF_ERROR(flush());
    }
    // Hashes of leaves without a commit go too; they lie behind the log and are written over.
    RETURN_IF_ERROR(flush());
    return rest;
  }

  const std::string& folder_;
  DerivedFiles& derived_;
  const std::function<uint64_t(absl::string_view)>& tag_;
  std::vector<SegmentFile> files_;
  size_t holding_ = 0;  // so many of them hold more than a header; those behind do not
  Recovered out_;
};

}  // namespace

absl::StatusOr<Recovered> Recover(const std::string& folder, DerivedFiles& derived,
                                  const std::function<uint64_t(absl::string_view)>& tag) {
  return Recovery(folder, derived, tag).Run();
}

}  // namespace oncomesh::ledger
