// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <atomic>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/statusor.h"
#include "absl/types/optional.h"
#include "libs/base/clock.h"
#include "libs/base/mutex.h"
#include "libs/objects/object_store.h"
#include "libs/terminology/registry.h"
#include "oncomesh/catalogue/v1/node_catalogue.pb.h"
#include "services/catalogue/current_index.h"
#include "services/catalogue/node_store.h"
#include "services/catalogue/released_feed.h"

namespace oncomesh::catalogue {

// Brings what de-identification released into the store and the index. Any thread; one Sync runs at
// a time, another waits for it; Status waits for none.
class Indexer {
 public:
  struct Deps {
    ReleasedFeed& feed;
    objects::ObjectStore& objects;
    NodeStore& store;
    CurrentIndex& index;
    const terminology::Registry& registry;
    const base::Clock& clock;
  };
  explicit Indexer(Deps deps) : deps_(deps) {}

  // Makes the index from the store; at start. When the registry has changed since the store was
  // filled, everything is taken from the feed anew.
  absl::Status Load();

  // Takes in everything released since the last time. When it returns OK, counts see it, but for
  // what was passed over: an object that the store does not have is tried again with every Sync (of
  // many, some) until it is there, one that cannot be read with the first Sync after a start. An
  // object store or a feed that fails stops the run, and the next one continues there. Errors:
  // UNAVAILABLE (RELEASED_FEED, OBJECTS_UNAVAILABLE, SERVICE_STOPPING), PERMISSION_DENIED
  // (FILE_NOT_ALLOWED), those of the store.
  absl::StatusOr<v1::IndexStatus> Sync();

  absl::StatusOr<v1::IndexStatus> Status();

  // Ends a Sync that runs, soon, with what it has taken in kept; none starts any more.
  void Stop() { stopping_ = true; }

 private:
  // What comes of some events of the feed.
  struct Taken {
    std::vector<IndexChange> changes;
    std::vector<PassedOver> passed_over;
  };

  // Adds what comes of one event. An error is of the store of objects, not of the object.
  absl::Status Take(const Released& event, Taken& taken);
  absl::Status Apply(const Taken& taken, absl::optional<int64_t> cursor)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(sync_);
  // Tries what was passed over; a clinical table that is readable now turns the cursor back, for
  // those released after it go before it.
  absl::Status TryAgain() ABSL_EXCLUSIVE_LOCKS_REQUIRED(sync_);
  absl::Status Follow() ABSL_EXCLUSIVE_LOCKS_REQUIRED(sync_);
  absl::Status Rebuild() ABSL_EXCLUSIVE_LOCKS_REQUIRED(sync_);
  absl::Status CheckStopping() const;

  Deps deps_;
  std::atomic<bool> stopping_{false};
  base::Mutex sync_;                                      // held as long as a Sync lasts
  bool changed_ ABSL_GUARDED_BY(sync_) = false;           // since the index was made
  bool tried_unreadable_ ABSL_GUARDED_BY(sync_) = false;  // since the start
  int64_t tried_absent_ ABSL_GUARDED_BY(sync_) = 0;       // up to this position
  base::Mutex mutex_;
  absl::Time updated_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace oncomesh::catalogue
