// SPDX-License-Identifier: Apache-2.0
// The log of a site: entries that are durable when they are acknowledged, and provable from then
// on.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "libs/base/mutex.h"
#include "libs/crypto/keys.h"
#include "libs/ledger/checkpoint.h"
#include "libs/ledger/derived_files.h"
#include "libs/ledger/hash.h"
#include "libs/ledger/proof.h"
#include "libs/ledger/segment.h"
#include "libs/ledger/tree.h"

namespace oncomesh::ledger {

struct Entry {
  uint64_t index = 0;
  std::string leaf;
};

// Owns a folder; a second Log on the same folder is refused. Entries are kept in segments of
// frames, the tree's hashes and the entries' places in two files that can be made anew from them.
// Any thread may call any method. Appends of many threads are written as one group with one sync:
// the caller whose turn it is writes for all that wait, there is no thread of the log's own.
//
// A write that fails leaves the log as it was. When the disk cannot say whether a group is durable
// (a failed sync), the log refuses every further append until it is opened again, because the
// kernel may have dropped the pages: UNAVAILABLE (LOG_FAILED).
class Log {
 public:
  struct Options {
    std::string folder;
    std::string origin;      // name of the log in checkpoints
    crypto::PrivateKey key;  // Ed25519
    // A number by which an entry can be found again, from its bytes; none: entries are found by
    // index only. Must not change over the life of a log.
    std::function<uint64_t(absl::string_view leaf)> tag = nullptr;
    uint64_t segment_bytes = 64 << 20;  // a new segment is begun beyond
  };

  // Brings the folder to the last acknowledged group: what a crash left after it is cut off. Never
  // drops an acknowledged entry: DATA_LOSS (LOG_CORRUPT) when one cannot be read, (LOG_TRUNCATED)
  // when the log is shorter than a checkpoint it has given out. FAILED_PRECONDITION (LOG_IN_USE)
  // when another process has it open, (LOG_KEY) when its checkpoint is of another origin or key.
  static absl::StatusOr<std::unique_ptr<Log>> Open(Options options);
  ~Log();
  Log(const Log&) = delete;
  Log& operator=(const Log&) = delete;

  // Returns the entry's number when it is durable. Errors: INVALID_ARGUMENT (LEAF_TOO_LARGE) above
  // 64 KiB; RESOURCE_EXHAUSTED (DISK_FULL); UNAVAILABLE (LOG_FAILED).
  absl::StatusOr<uint64_t> Append(absl::string_view leaf);
  // Several entries, all or none, with consecutive numbers; returns the first. At most 1,000.
  absl::StatusOr<uint64_t> Append(const std::vector<std::string>& leaves);

  uint64_t size() const;
  // Errors of the methods below, besides what is said: INVALID_ARGUMENT (INDEX_OUT_OF_RANGE) beyond
  // the log; DATA_LOSS (LOG_CORRUPT) when the disk does not give back what was written.
  absl::StatusOr<Hash> Root(uint64_t size) const;
  absl::StatusOr<std::string> Read(uint64_t index) const;
  absl::StatusOr<Proof> Inclusion(uint64_t index, uint64_t size) const;
  // size1 must not be 0.
  absl::StatusOr<Proof> Consistency(uint64_t size1, uint64_t size2) const;
  // The newest entry with this tag that `matches`. NOT_FOUND (ENTRY_NOT_FOUND) when there is none
  // among the last `depth` entries.
  absl::StatusOr<Entry> Find(uint64_t tag, uint64_t depth,
                             absl::FunctionRef<bool(absl::string_view leaf)> matches) const;

  // The leaf hashes of `count` entries from `first` on, 32 bytes each.
  absl::StatusOr<std::string> LeafHashes(uint64_t first, uint64_t count) const;
  // The tags of `count` entries from `first` on.
  absl::StatusOr<std::vector<uint64_t>> Tags(uint64_t first, uint64_t count) const;

  // A signed checkpoint of the log as it is now. It is stored before it is returned: the log will
  // not open again with less than it has promised.
  absl::StatusOr<std::string> SignedCheckpoint();
  // The newest that was given out, or empty. Writes nothing.
  std::string LastCheckpoint();
  NoteKey verifier_key() const { return verifier_; }

 private:
  struct Waiter;
  Log(Options options, NoteKey verifier)
      : options_(std::move(options)), verifier_(std::move(verifier)) {}

  absl::Status Start();
  absl::Status CheckStoredCheckpoint();

  absl::StatusOr<uint64_t> Submit(Waiter& waiter);
  void LeadGroup() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  absl::Status WriteGroup(const std::vector<Waiter*>& waiters, Frontier& frontier);
  absl::Status BeginSegment(uint64_t first);
  absl::Status MarkDurable(const Frontier& frontier);
  absl::Status CheckRange(uint64_t end, uint64_t size) const;

  const Options options_;
  const NoteKey verifier_;
  int lock_fd_ = -1;
  bool opened_ = false;
  std::unique_ptr<DerivedFiles> derived_;

  // Belong to whoever writes a group; one at a time, handed over under mutex_.
  int segment_fd_ = -1;
  uint64_t segment_first_ = 0;
  uint64_t segment_end_ = 0;  // offset behind the last commit
  uint64_t marked_ = 0;       // the derived files are durable up to this entry

  mutable base::Mutex mutex_;
  std::deque<Waiter*> queue_ ABSL_GUARDED_BY(mutex_);
  bool writing_ ABSL_GUARDED_BY(mutex_) = false;
  absl::Status failed_ ABSL_GUARDED_BY(mutex_);
  Frontier frontier_ ABSL_GUARDED_BY(mutex_);
  std::vector<uint64_t> segments_ ABSL_GUARDED_BY(mutex_);  // first entries, in order

  base::Mutex checkpoint_mutex_;
  std::string checkpoint_ ABSL_GUARDED_BY(checkpoint_mutex_);
  uint64_t checkpoint_size_ ABSL_GUARDED_BY(checkpoint_mutex_) = 0;
};

}  // namespace oncomesh::ledger
