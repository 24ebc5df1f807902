// SPDX-License-Identifier: Apache-2.0
// The node's copy of the trust bundle: on disk, never older than one it had before.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <thread>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "libs/base/clock.h"
#include "libs/base/mutex.h"
#include "oncomesh/access/v1/trust.pb.h"

namespace oncomesh::access {

struct KeptBundle {
  v1::TrustBundle bundle;
  absl::Time fetched;  // by this site's clock
};

// Any thread.
class TrustKeeper {
 public:
  using Fetch = std::function<absl::StatusOr<v1::TrustBundle>()>;

  // Reads what a run before kept in `<state_dir>/trust.binpb`. `max_age`: how old the bundle may be
  // here (NodePolicy.max_trust_age_seconds); an hour when it is not given. What is on disk is at
  // most a tenth of it behind, so that a restart without the hub loses no more of that time.
  static absl::StatusOr<std::unique_ptr<TrustKeeper>> Open(
      const std::string& state_dir, base::Clock& clock,
      std::function<absl::Duration()> max_age = nullptr);
  ~TrustKeeper();

  // Errors: UNAVAILABLE (TRUST_NOT_YET) before the first bundle.
  absl::StatusOr<KeptBundle> Get();

  // Takes a bundle from the hub. Errors: FAILED_PRECONDITION (EPOCH_ROLLBACK) when its epoch is
  // lower than that of the one kept: a hub restored from an old backup must not bring revoked
  // permits back. Those of writing the file, such as RESOURCE_EXHAUSTED (DISK_FULL), when a restart
  // would not find it: here it is in force all the same, and the next Accept writes again.
  absl::Status Accept(const v1::TrustBundle& bundle);

  // Pulls now and then every `period` until Stop. `changed` is called after a bundle that says
  // something else than the one before was taken.
  void Start(absl::Duration period, Fetch fetch, std::function<void()> changed);
  void Stop();

 private:
  TrustKeeper(std::string path, base::Clock& clock, std::function<absl::Duration()> max_age)
      : path_(std::move(path)), clock_(clock), max_age_(std::move(max_age)) {}

  absl::Status Write() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  const std::string path_;
  base::Clock& clock_;
  const std::function<absl::Duration()> max_age_;
  base::Mutex mutex_;
  std::function<void()> changed_ ABSL_GUARDED_BY(mutex_);
  std::optional<KeptBundle> kept_ ABSL_GUARDED_BY(mutex_);
  absl::Time stored_ ABSL_GUARDED_BY(mutex_) = absl::InfinitePast();  // fetch time on disk
  // What is kept says something else than the file.
  bool unwritten_ ABSL_GUARDED_BY(mutex_) = false;
  base::CondVar wake_;
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
  std::thread puller_;
};

}  // namespace oncomesh::access
