// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/statusor.h"
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
// a time, another waits for it.
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

  // Takes in everything released since the last time. When it returns OK, counts see it. Objects
  // that cannot be read are counted and passed over; an object store or a feed that fails stops
  // the run, and the next one continues there.
  // Errors: UNAVAILABLE (RELEASED_FEED), those of the store.
  absl::StatusOr<v1::IndexStatus> Sync();

  absl::StatusOr<v1::IndexStatus> Status();

 private:
  // Turns an event into changes; how much of it had to be passed over.
  absl::StatusOr<int64_t> Take(const Released& event, std::vector<IndexChange>& changes);
  absl::StatusOr<v1::IndexStatus> StatusLocked() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  absl::Status Rebuild() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  Deps deps_;
  base::Mutex mutex_;
  absl::Time updated_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace oncomesh::catalogue
