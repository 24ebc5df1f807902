// SPDX-License-Identifier: Apache-2.0
#include "libs/ledger/verify.h"

#include <algorithm>
#include <map>
#include <memory>
#include <utility>

#include "absl/strings/str_cat.h"
#include "libs/base/error.h"
#include "libs/base/files.h"
#include "libs/base/status_macros.h"
#include "libs/ledger/derived_files.h"
#include "libs/ledger/segment.h"
#include "libs/ledger/tree.h"

namespace oncomesh::ledger {
namespace {

constexpr size_t kMaxFindings = 100;

// Reads one of the derived files along with the segments, if it is there.
class HashesFile {
 public:
  explicit HashesFile(const std::string& folder) {
    absl::StatusOr<std::unique_ptr<DerivedFiles>> files = DerivedFiles::OpenReadOnly(folder);
    if (files.ok()) files_ = *std::move(files);
  }
  // False when the file holds another hash than this one; a missing or shorter file is no damage.
  bool Agrees(uint64_t position, const Hash& hash) {
    if (files_ == nullptr) return true;
    absl::StatusOr<Hash> stored = files_->ReadHash(position);
    return !stored.ok() || *stored == hash;
  }

 private:
  std::unique_ptr<DerivedFiles> files_;
};

class FolderCheck {
 public:
  FolderCheck(const std::string& folder, const NoteKey& key,
              absl::FunctionRef<void(uint64_t, absl::string_view)> each)
      : folder_(folder), key_(key), each_(each), hashes_(folder) {}

  absl::StatusOr<FolderReport> Run(const std::vector<std::string>& known) {
    // The checkpoint first: entries may be added while this reads.
    absl::StatusOr<std::string> stored = base::ReadFile(folder_ + "/checkpoint", kMaxNoteBytes);
    if (stored.ok()) {
      if (Expect(*stored, "the stored checkpoint")) report_.checkpoint_size = last_expected_;
    } else if (!absl::IsNotFound(stored.status())) {
      return stored.status();
    }
    for (const std::string& note : known) Expect(note, "a checkpoint kept elsewhere");

    absl::StatusOr<std::vector<SegmentFile>> files = ListSegments(folder_);
    if (absl::IsNotFound(files.status())) return files.status();
    if (files.ok()) {
      ASSIGN_OR_RETURN(size_t holding, LeaveOutGivenUp(*files));
      Meet();
      for (size_t i = 0; i < files->size(); ++i) {
        if (i >= holding && (*files)[i].first < frontier_.size()) continue;  // begun in vain
        if (!ReadSegment((*files)[i], i + 1 >= holding)) break;
      }
    } else {
      Find(base::ReasonOf(files.status()), std::string(files.status().message()));
    }
    report_.size = frontier_.size();
    report_.root = frontier_.Root();
    for (const auto& [size, promised] : expected_) {
      Find("LOG_TRUNCATED", absl::StrCat(promised.whose, " promises ", size, " entries"));
    }
    return std::move(report_);
  }

 private:
  struct Promise {
    Hash root;
    std::string whose;
  };

  void Find(const std::string& reason, const std::string& what) {
    if (report_.findings.size() < kMaxFindings) {
      report_.findings.push_back(Finding{reason, what, frontier_.size()});
    }
  }

  bool Expect(absl::string_view note, const std::string& whose) {
    absl::StatusOr<Checkpoint> checkpoint = VerifyCheckpoint(note, key_);
    if (!checkpoint.ok()) {
      Find(base::ReasonOf(checkpoint.status()),
           absl::StrCat(whose, ": ", checkpoint.status().message()));
      return false;
    }
    last_expected_ = checkpoint->size;
    expected_.emplace(checkpoint->size, Promise{checkpoint->root, whose});
    return true;
  }

  // Compares the root with what was promised for this size.
  void Meet() {
    auto [begin, end] = expected_.equal_range(frontier_.size());
    if (begin == end) return;
    const Hash root = frontier_.Root();
    for (auto it = begin; it != end; ++it) {
      if (it->second.root != root) {
        Find("LOG_CORRUPT", absl::StrCat(it->second.whose, " of ", it->first,
                                         " entries has another root than the log"));
      }
    }
    expected_.erase(begin, end);
  }

  // False when the rest of the log cannot be judged.
  bool ReadSegment(const SegmentFile& file, bool last) {
    absl::StatusOr<std::string> bytes = base::ReadFile(file.path, uint64_t{4} << 30);
    if (!bytes.ok()) {
      Find("LOG_CORRUPT", "a file of the log cannot be read");
      return false;
    }
    ++report_.segments;
    report_.bytes += bytes->size();
    if (last && bytes->size() < kSegmentHeaderBytes) {  // just being begun
      report_.unfinished_bytes += bytes->size();
      return true;
    }
    absl::StatusOr<uint64_t> first = ParseSegmentHeader(*bytes);
    if (!first.ok() || *first != file.first || *first != frontier_.size()) {
      Find("LOG_CORRUPT", "a file of the log does not follow the one before it");
      return false;
    }
    FrameReader reader(absl::string_view(*bytes).substr(kSegmentHeaderBytes), kSegmentHeaderBytes);
    absl::string_view rest = reader.rest();
    std::vector<absl::string_view> group;
    Frame frame;
    while (reader.Next(frame)) {
      if (frame.kind == Frame::Kind::kLeaf) {
        group.push_back(frame.payload);
        continue;
      }
      if (!TakeGroup(group, frame.commit)) return false;
      group.clear();
      rest = reader.rest();
    }
    if (rest.empty()) return true;
    if (last && !HoldsLaterCommit(rest, frontier_.size())) {
      report_.unfinished_bytes += rest.size();
      return true;
    }
    Find("LOG_CORRUPT", "an acknowledged entry cannot be read");
    return false;
  }

  bool TakeGroup(const std::vector<absl::string_view>& group, const Commit& commit) {
    if (commit.previous != frontier_.size()) {
      Find("LOG_CORRUPT", "entries are missing before a commit");
      return false;
    }
    for (absl::string_view leaf : group) {
      const uint64_t index = frontier_.size();
      uint64_t position = NodeCount(index);
      bool agrees = true;
      frontier_.Append(LeafHash(leaf), [&](const Hash& hash) {
        agrees = hashes_.Agrees(position++, hash) && agrees;
      });
      if (!agrees) {
        Find("HASHES_DAMAGED",
             "the stored hashes differ from the entries; they can be made anew by removing the "
             "files hashes, places and marker while the service is stopped");
      }
      each_(index, leaf);
      Meet();
    }
    if (commit.size != frontier_.size() || commit.root != frontier_.Root()) {
      Find("LOG_CORRUPT", "a group of entries is not the one that was acknowledged");
      return false;
    }
    return true;
  }

  const std::string& folder_;
  const NoteKey& key_;
  absl::FunctionRef<void(uint64_t, absl::string_view)> each_;
  HashesFile hashes_;
  Frontier frontier_;
  std::multimap<uint64_t, Promise> expected_;
  uint64_t last_expected_ = 0;
  FolderReport report_;
};

}  // namespace

absl::StatusOr<FolderReport> VerifyFolder(
    const std::string& folder, const NoteKey& key, const std::vector<std::string>& known,
    absl::FunctionRef<void(uint64_t, absl::string_view)> each) {
  return FolderCheck(folder, key, each).Run(known);
}

}  // namespace oncomesh::ledger
