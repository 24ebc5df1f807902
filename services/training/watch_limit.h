// SPDX-License-Identifier: Apache-2.0
// How many streams one person may keep open, since each holds a thread of the service.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/status/statusor.h"
#include "libs/base/mutex.h"

namespace oncomesh::training {

class WatchLimit {
 public:
  explicit WatchLimit(int most) : most_(most) {}

  // A place for one more stream of `person`, given back when it is destroyed. Must not outlive the
  // limit. Errors: RESOURCE_EXHAUSTED (TOO_MANY_WATCHERS).
  class Place;
  absl::StatusOr<std::unique_ptr<Place>> Enter(const std::string& person);

 private:
  void Leave(const std::string& person);

  const int most_;
  base::Mutex mutex_;
  std::map<std::string, int> open_ ABSL_GUARDED_BY(mutex_);
};

class WatchLimit::Place {
 public:
  Place(WatchLimit& limit, std::string person) : limit_(limit), person_(std::move(person)) {}
  ~Place() { limit_.Leave(person_); }
  Place(const Place&) = delete;
  Place& operator=(const Place&) = delete;

 private:
  WatchLimit& limit_;
  const std::string person_;
};

}  // namespace oncomesh::training
