// SPDX-License-Identifier: Apache-2.0
// The audit log of a site: typed events on a Log. What the access service serves.
#pragma once

#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "absl/status/statusor.h"
#include "libs/base/clock.h"
#include "libs/base/mutex.h"
#include "libs/base/random.h"
#include "libs/ledger/log.h"
#include "oncomesh/audit/v1/audit.pb.h"

namespace oncomesh::ledger {

// Any thread may call any method.
class EventLog {
 public:
  struct Options {
    std::string folder;
    std::string site;          // "hub" or the node's id; every event gets it
    std::string trust_domain;  // the log's origin is "<trust domain>/audit/<site>"
    crypto::PrivateKey key;    // Ed25519
    base::Clock* clock = &base::SystemClock::Get();
    base::Random* random = &base::SystemRandom::Get();
  };
  // Errors: those of Log::Open.
  static absl::StatusOr<std::unique_ptr<EventLog>> Open(Options options);

  // The origin of a site's log in its checkpoints.
  static std::string Origin(const std::string& trust_domain, const std::string& site);

  // The methods below are those of AuditService, with its errors.
  absl::StatusOr<audit::v1::AppendResponse> Append(const audit::v1::AppendRequest& request);
  absl::StatusOr<audit::v1::ListResponse> List(const audit::v1::ListRequest& request) const;
  absl::StatusOr<audit::v1::ListLeafHashesResponse> ListLeafHashes(
      const audit::v1::ListLeafHashesRequest& request) const;
  absl::StatusOr<audit::v1::ProveResponse> Prove(const audit::v1::ProveRequest& request);
  // Signs and stores a new checkpoint at most once in this time, since anybody may ask; in between
  // it gives the newest there is.
  static constexpr absl::Duration kCheckpointInterval = absl::Seconds(1);
  absl::StatusOr<audit::v1::GetCheckpointResponse> GetCheckpoint();
  absl::StatusOr<audit::v1::ConsistencyResponse> Consistency(
      const audit::v1::ConsistencyRequest& request) const;

  // One event, for code of the access service itself. Fields that the log sets may be empty.
  absl::StatusOr<audit::v1::LoggedEvent> Record(audit::v1::Event event);

  const Log& log() const { return *log_; }

 private:
  EventLog(Options options, std::unique_ptr<Log> log)
      : options_(std::move(options)), log_(std::move(log)) {}
  absl::StatusOr<Entry> FindEvent(const std::string& event_id) const;
  // The entry that an earlier call wrote for this id; none when it is new.
  absl::StatusOr<std::optional<Entry>> FindRecent(const std::string& event_id);
  void Remember(uint64_t tag, uint64_t index);

  // The ids of a call while it is written: a repeat waits for what becomes of the first.
  class Claim {
   public:
    Claim(EventLog& log, std::vector<uint64_t> tags);
    ~Claim();
    Claim(const Claim&) = delete;
    Claim& operator=(const Claim&) = delete;

   private:
    EventLog& log_;
    const std::vector<uint64_t> tags_;
  };

  const Options options_;
  const std::unique_ptr<Log> log_;
  base::Mutex mutex_;
  // The last entries by the tags of their ids, for repeated calls; oldest first in order_.
  absl::flat_hash_map<uint64_t, uint64_t> recent_ ABSL_GUARDED_BY(mutex_);
  std::deque<uint64_t> order_ ABSL_GUARDED_BY(mutex_);
  absl::flat_hash_set<uint64_t> claimed_ ABSL_GUARDED_BY(mutex_);  // tags of ids being written
  base::CondVar released_;
  absl::Time checkpoint_made_ ABSL_GUARDED_BY(mutex_) = absl::InfinitePast();
};

}  // namespace oncomesh::ledger
