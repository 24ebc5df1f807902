// SPDX-License-Identifier: Apache-2.0
#include "libs/ledger/log.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/types/span.h"
#include "libs/base/error.h"
#include "libs/base/files.h"
#include "libs/base/log.h"
#include "libs/base/status_macros.h"
#include "libs/ledger/bytes.h"
#include "libs/ledger/file_io.h"
#include "libs/ledger/recovery.h"

namespace oncomesh::ledger {
namespace {

constexpr size_t kMaxGroupBytes = 4 << 20;
constexpr size_t kMaxAppend = 1000;
// Entries whose hashes are computed again after a crash; at 2 million a second, no time.
constexpr uint64_t kMarkEvery = 1 << 16;
constexpr uint64_t kFindStep = 1 << 14;

absl::Status Failed() {
  return base::Error(absl::StatusCode::kUnavailable, "LOG_FAILED",
                     "the disk could not say whether the last entries of the audit log are "
                     "durable; check the disk and start the service again");
}

absl::Status OutOfRange() {
  return base::Error(absl::StatusCode::kInvalidArgument, "INDEX_OUT_OF_RANGE",
                     "the audit log has no such entry yet");
}

// The derived files are read back from a disk: a proof that does not hold is not handed out.
absl::Status CheckProof(const absl::Status& verified) {
  if (verified.ok()) return verified;
  return base::Error(absl::StatusCode::kDataLoss, "LOG_CORRUPT",
                     "the stored hashes of the audit log are damaged; stop the service, remove "
                     "the files hashes, places and marker from its folder and start it again: "
                     "they are made anew");
}

}  // namespace

// A call of Append, on its caller's stack, from the queue to the answer.
struct Log::Waiter {
  absl::Span<const absl::string_view> leaves;
  std::vector<Hash> hashes;
  std::vector<uint64_t> tags;
  size_t bytes = 0;

  base::CondVar wake;
  bool done = false;  // under mutex_
  absl::Status status;
  uint64_t first = 0;
};

absl::StatusOr<std::unique_ptr<Log>> Log::Open(Options options) {
  ASSIGN_OR_RETURN(NoteKey verifier,
                   NoteKey::Make(options.origin, NoteKeyType::kEd25519, options.key.Public()));
  std::unique_ptr<Log> log(new Log(std::move(options), std::move(verifier)));
  RETURN_IF_ERROR(log->Start());
  return log;
}

absl::Status Log::Start() {
  RETURN_IF_ERROR(base::MakeDirectories(options_.folder + "/records", 0750));
  ASSIGN_OR_RETURN(lock_fd_, OpenFile(options_.folder + "/lock", O_RDWR | O_CREAT));
  if (flock(lock_fd_, LOCK_EX | LOCK_NB) != 0) {
    return base::Error(absl::StatusCode::kFailedPrecondition, "LOG_IN_USE",
                       "another process writes this audit log; only one may");
  }
  ASSIGN_OR_RETURN(derived_, DerivedFiles::Open(options_.folder));
  ASSIGN_OR_RETURN(Recovered recovered, Recover(options_.folder, *derived_, options_.tag));
  if (recovered.dropped_bytes > 0) {
    base::Log(base::Level::kWarning, "ledger.unfinished_end_dropped",
              {{"bytes", recovered.dropped_bytes}, {"size", recovered.frontier.size()}});
  }
  marked_ = recovered.marked;
  if (!recovered.segments.empty()) {
    segment_first_ = recovered.segments.back();
    segment_end_ = recovered.end;
    ASSIGN_OR_RETURN(segment_fd_, OpenFile(SegmentPath(options_.folder, segment_first_), O_RDWR));
  }
  {
    base::MutexLock lock(mutex_);
    frontier_ = std::move(recovered.frontier);
    segments_ = std::move(recovered.segments);
  }
  RETURN_IF_ERROR(CheckStoredCheckpoint());
  opened_ = true;
  return absl::OkStatus();
}

absl::Status Log::CheckStoredCheckpoint() {
  absl::StatusOr<std::string> note = base::ReadFile(options_.folder + "/checkpoint", kMaxNoteBytes);
  if (absl::IsNotFound(note.status())) return absl::OkStatus();
  RETURN_IF_ERROR(note.status());
  absl::StatusOr<Checkpoint> stored = VerifyCheckpoint(*note, verifier_);
  if (!stored.ok()) {
    return base::Error(absl::StatusCode::kFailedPrecondition, "LOG_KEY",
                       "the audit log's checkpoint was signed by another key or for another "
                       "origin; give it the key it was begun with");
  }
  if (stored->size > size()) {
    return base::Error(absl::StatusCode::kDataLoss, "LOG_TRUNCATED",
                       "the audit log holds fewer entries than it has promised; restore its "
                       "folder from a copy");
  }
  ASSIGN_OR_RETURN(Hash root, Root(stored->size));
  if (root != stored->root) return Corrupt("its entries are not those of its checkpoint");
  base::MutexLock lock(checkpoint_mutex_);
  checkpoint_ = *std::move(note);
  checkpoint_size_ = stored->size;
  return absl::OkStatus();
}

Log::~Log() {
  // Saves work at the next start, and lets it notice if the end of the log was lost meanwhile. A
  // failure here loses nothing.
  bool sound = false;
  {
    base::MutexLock lock(mutex_);
    sound = segment_fd_ >= 0 && opened_ && failed_.ok();
    if (sound && frontier_.size() > marked_) MarkDurable(frontier_).IgnoreError();
  }
  if (sound) SignedCheckpoint().IgnoreError();
  if (segment_fd_ >= 0) close(segment_fd_);
  if (lock_fd_ >= 0) close(lock_fd_);
}

absl::StatusOr<uint64_t> Log::Append(absl::string_view leaf) {
  Waiter waiter;
  waiter.leaves = absl::MakeConstSpan(&leaf, 1);
  return Submit(waiter);
}

absl::StatusOr<uint64_t> Log::Append(const std::vector<std::string>& leaves) {
  if (leaves.empty() || leaves.size() > kMaxAppend) {
    return base::Error(absl::StatusCode::kInvalidArgument, "LEAF_COUNT",
                       "1 to 1,000 entries can be appended together");
  }
  const std::vector<absl::string_view> views(leaves.begin(), leaves.end());
  Waiter waiter;
  waiter.leaves = views;
  return Submit(waiter);
}

absl::StatusOr<uint64_t> Log::Submit(Waiter& waiter) {
  for (absl::string_view leaf : waiter.leaves) {
    if (leaf.size() > kMaxLeafBytes) {
      return base::Error(absl::StatusCode::kInvalidArgument, "LEAF_TOO_LARGE",
                         "an entry of the audit log has at most 64 KiB");
    }
    // Hashed here, by every caller for itself, and not while the others wait.
    waiter.hashes.push_back(LeafHash(leaf));
    waiter.tags.push_back(options_.tag ? options_.tag(leaf) : 0);
    waiter.bytes += leaf.size() + kFrameHeaderBytes;
  }
  base::MutexLock lock(mutex_);
  queue_.push_back(&waiter);
  while (!waiter.done) {
    if (writing_) {
      waiter.wake.Wait(mutex_);
    } else {
      LeadGroup();
    }
  }
  if (!waiter.status.ok()) return waiter.status;
  return waiter.first;
}

// Nobody writes: this caller does, for who waits longest, mostly itself among them.
void Log::LeadGroup() {
  writing_ = true;
  std::vector<Waiter*> group;
  size_t bytes = 0;
  while (!queue_.empty() && (group.empty() || bytes + queue_.front()->bytes <= kMaxGroupBytes)) {
    bytes += queue_.front()->bytes;
    group.push_back(queue_.front());
    queue_.pop_front();
  }
  absl::Status status = failed_;
  Frontier frontier = frontier_;
  if (status.ok()) {
    mutex_.Unlock();
    status = WriteGroup(group, frontier);
    mutex_.Lock();
  }
  if (segment_fd_ >= 0 && (segments_.empty() || segments_.back() != segment_first_)) {
    segments_.push_back(segment_first_);
  }
  if (status.ok()) {
    frontier_ = std::move(frontier);
  } else if (base::ReasonOf(status) == "LOG_FAILED") {
    failed_ = status;
  }
  for (Waiter* member : group) {
    member->status = status;
    member->done = true;
    member->wake.Signal();
  }
  writing_ = false;
  if (!queue_.empty()) queue_.front()->wake.Signal();  // it leads the next group
}

// Called by one thread at a time, without the lock. Leaves everything as it was when it fails, or
// answers LOG_FAILED.
absl::Status Log::WriteGroup(const std::vector<Waiter*>& waiters, Frontier& frontier) {
  Commit commit{frontier.size(), 0, {}};
  size_t bytes = 0;
  for (const Waiter* waiter : waiters) bytes += waiter->bytes;
  if (segment_fd_ < 0 || segment_end_ + bytes > options_.segment_bytes) {
    // The first group of a segment may be larger than a segment is meant to be.
    if (segment_fd_ < 0 || segment_end_ > kSegmentHeaderBytes) {
      if (frontier.size() > marked_) RETURN_IF_ERROR(MarkDurable(frontier));
      RETURN_IF_ERROR(BeginSegment(frontier.size()));
    }
  }
  std::string frames, hashes, places;
  frames.reserve(bytes + 2 * kFrameHeaderBytes + 64);
  for (Waiter* waiter : waiters) {
    waiter->first = frontier.size();
    for (size_t i = 0; i < waiter->leaves.size(); ++i) {
      AppendU64(segment_end_ + frames.size(), places);
      AppendU64(waiter->tags[i], places);
      AppendLeafFrame(waiter->leaves[i], frames);
      frontier.Append(waiter->hashes[i],
                      [&](const Hash& hash) { absl::StrAppend(&hashes, View(hash)); });
    }
  }
  commit.size = frontier.size();
  commit.root = frontier.Root();
  AppendCommitFrame(commit, frames);

  // The derived files first: what lies in them behind the log counts for nothing, but an entry
  // that is durable must be provable.
  RETURN_IF_ERROR(derived_->Write(commit.previous, hashes, places));
  absl::Status written = WriteAt(segment_fd_, segment_end_, frames);
  if (!written.ok()) {
    // A half group would stand before the next one.
    if (ftruncate(segment_fd_, static_cast<off_t>(segment_end_)) != 0) return Failed();
    return written;
  }
  if (fdatasync(segment_fd_) != 0) return Failed();
  segment_end_ += frames.size();
  if (commit.size - marked_ >= kMarkEvery) {
    // The group is durable whatever becomes of this.
    absl::Status marked = MarkDurable(frontier);
    if (!marked.ok()) base::LogError("ledger.marker_failed", marked);
  }
  return absl::OkStatus();
}

absl::Status Log::BeginSegment(uint64_t first) {
  const std::string path = SegmentPath(options_.folder, first);
  // Durable under its name before an entry is in it.
  const absl::Status named = base::WriteFileAtomically(path, SegmentHeader(first), 0640);
  absl::StatusOr<int> fd = named.ok() ? OpenFile(path, O_RDWR) : named;
  if (!fd.ok()) {
    // Entries go on into the old segment, and would be missing between it and this one. A crash can
    // bring the name back: recovery passes over it.
    unlink(path.c_str());
    return fd.status();
  }
  if (segment_fd_ >= 0) close(segment_fd_);
  segment_fd_ = *fd;
  segment_first_ = first;
  segment_end_ = kSegmentHeaderBytes;
  return absl::OkStatus();
}

absl::Status Log::MarkDurable(const Frontier& frontier) {
  RETURN_IF_ERROR(derived_->WriteMarker(
      Marker{frontier.size(), frontier.Root(), segment_first_, segment_end_}));
  marked_ = frontier.size();
  return absl::OkStatus();
}

uint64_t Log::size() const {
  base::MutexLock lock(mutex_);
  return frontier_.size();
}

absl::Status Log::CheckRange(uint64_t end, uint64_t size) const {
  if (end <= size && size <= this->size()) return absl::OkStatus();
  return OutOfRange();
}

absl::StatusOr<Hash> Log::Root(uint64_t size) const {
  RETURN_IF_ERROR(CheckRange(0, size));
  auto read = [this](uint64_t position) { return derived_->ReadHash(position); };
  return TreeReader(read).Root(size);
}

absl::StatusOr<std::string> Log::LeafHashes(uint64_t first, uint64_t count) const {
  RETURN_IF_ERROR(CheckRange(first, first + count));
  std::string out;
  out.reserve(count * sizeof(Hash));
  for (uint64_t i = 0; i < count; ++i) {
    ASSIGN_OR_RETURN(Hash hash, derived_->ReadHash(NodePosition(0, first + i)));
    out.append(reinterpret_cast<const char*>(hash.data()), hash.size());
  }
  return out;
}

absl::StatusOr<Proof> Log::Inclusion(uint64_t index, uint64_t size) const {
  RETURN_IF_ERROR(CheckRange(0, size));
  auto read = [this](uint64_t position) { return derived_->ReadHash(position); };
  TreeReader tree(read);
  ASSIGN_OR_RETURN(Proof proof, tree.Inclusion(index, size));
  ASSIGN_OR_RETURN(Hash root, tree.Root(size));
  ASSIGN_OR_RETURN(Hash leaf, derived_->ReadHash(NodePosition(0, index)));
  RETURN_IF_ERROR(CheckProof(VerifyInclusion(index, size, leaf, proof, root)));
  return proof;
}

absl::StatusOr<Proof> Log::Consistency(uint64_t size1, uint64_t size2) const {
  RETURN_IF_ERROR(CheckRange(size1, size2));
  if (size1 == 0) {
    return base::Error(absl::StatusCode::kInvalidArgument, "INDEX_OUT_OF_RANGE",
                       "consistency with an empty log says nothing");
  }
  auto read = [this](uint64_t position) { return derived_->ReadHash(position); };
  TreeReader tree(read);
  ASSIGN_OR_RETURN(Proof proof, tree.Consistency(size1, size2));
  ASSIGN_OR_RETURN(Hash root1, tree.Root(size1));
  ASSIGN_OR_RETURN(Hash root2, tree.Root(size2));
  RETURN_IF_ERROR(CheckProof(VerifyConsistency(size1, size2, proof, root1, root2)));
  return proof;
}

absl::StatusOr<std::string> Log::Read(uint64_t index) const {
  if (index >= size()) return OutOfRange();
  uint64_t first = 0;
  {
    base::MutexLock lock(mutex_);
    first = *std::prev(std::upper_bound(segments_.begin(), segments_.end(), index));
  }
  ASSIGN_OR_RETURN(Place place, derived_->ReadPlace(index));
  ASSIGN_OR_RETURN(int fd, OpenFile(SegmentPath(options_.folder, first), O_RDONLY));
  absl::StatusOr<std::string> bytes =
      ReadAt(fd, place.offset, kFrameHeaderBytes + 1024);  // most entries are shorter
  if (bytes.ok() && bytes->size() >= kFrameHeaderBytes) {
    const size_t whole = kFrameHeaderBytes + ReadU32(absl::string_view(*bytes).substr(4));
    if (whole > bytes->size() && whole <= kFrameHeaderBytes + kMaxLeafBytes) {
      bytes = ReadAt(fd, place.offset, whole);
    }
  }
  close(fd);
  RETURN_IF_ERROR(bytes.status());
  FrameReader reader(*bytes, place.offset);
  Frame frame;
  if (!reader.Next(frame) || frame.kind != Frame::Kind::kLeaf) {
    return Corrupt("an entry cannot be read");
  }
  return std::string(frame.payload);
}

absl::StatusOr<Entry> Log::Find(uint64_t tag, uint64_t depth,
                                absl::FunctionRef<bool(absl::string_view)> matches) const {
  uint64_t end = size();
  const uint64_t stop = end > depth ? end - depth : 0;
  while (end > stop) {
    const uint64_t begin = std::max(stop, end > kFindStep ? end - kFindStep : 0);
    ASSIGN_OR_RETURN(std::string places, derived_->ReadPlaces(begin, end - begin));
    for (uint64_t index = end; index-- > begin;) {
      if (ReadU64(absl::string_view(places).substr(16 * (index - begin) + 8)) != tag) continue;
      ASSIGN_OR_RETURN(std::string leaf, Read(index));
      if (matches(leaf)) return Entry{index, std::move(leaf)};
    }
    end = begin;
  }
  return base::Error(absl::StatusCode::kNotFound, "ENTRY_NOT_FOUND",
                     "the audit log has no such entry");
}

absl::StatusOr<std::vector<uint64_t>> Log::Tags(uint64_t first, uint64_t count) const {
  const uint64_t end = size();
  if (first > end || count > end - first) return OutOfRange();
  ASSIGN_OR_RETURN(std::string places, derived_->ReadPlaces(first, count));
  std::vector<uint64_t> out(count);
  for (uint64_t i = 0; i < count; ++i) {
    out[i] = ReadU64(absl::string_view(places).substr(16 * i + 8));
  }
  return out;
}

std::string Log::LastCheckpoint() {
  base::MutexLock lock(checkpoint_mutex_);
  return checkpoint_;
}

absl::StatusOr<std::string> Log::SignedCheckpoint() {
  base::MutexLock lock(checkpoint_mutex_);
  Checkpoint now{options_.origin, 0, {}};
  {
    base::MutexLock log_lock(mutex_);
    now.size = frontier_.size();
    now.root = frontier_.Root();
  }
  if (!checkpoint_.empty() && now.size == checkpoint_size_) return checkpoint_;
  ASSIGN_OR_RETURN(std::string note, SignCheckpoint(now, options_.key));
  RETURN_IF_ERROR(base::WriteFileAtomically(options_.folder + "/checkpoint", note, 0640));
  checkpoint_ = note;
  checkpoint_size_ = now.size;
  return note;
}

}  // namespace oncomesh::ledger
