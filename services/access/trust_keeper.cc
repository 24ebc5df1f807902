// SPDX-License-Identifier: Apache-2.0
#include "services/access/trust_keeper.h"

#include <google/protobuf/util/message_differencer.h>

#include <utility>

#include "absl/strings/str_cat.h"
#include "libs/base/error.h"
#include "libs/base/files.h"
#include "libs/base/status_macros.h"
#include "services/access/outage_log.h"

namespace oncomesh::access {

namespace {

// Keys of issuers change without a new epoch; the time alone changes with every answer of the hub.
bool SameContent(v1::TrustBundle a, v1::TrustBundle b) {
  a.clear_make_time();
  b.clear_make_time();
  return google::protobuf::util::MessageDifferencer::Equals(a, b);
}

}  // namespace

absl::StatusOr<std::unique_ptr<TrustKeeper>> TrustKeeper::Open(
    const std::string& state_dir, base::Clock& clock, std::function<absl::Duration()> max_age) {
  std::unique_ptr<TrustKeeper> keeper(
      new TrustKeeper(state_dir + "/trust.binpb", clock, std::move(max_age)));
  absl::StatusOr<std::string> bytes = base::ReadFile(keeper->path_, 16 << 20);
  if (bytes.status().code() == absl::StatusCode::kNotFound) return keeper;
  RETURN_IF_ERROR(bytes.status());
  v1::GetTrustBundleResponse stored;
  if (!stored.ParseFromString(*bytes)) {
    return base::Error(absl::StatusCode::kDataLoss, "TRUST_FILE_DAMAGED",
                       "trust.binpb cannot be read; without it a rollback would go unnoticed, so "
                       "restore it from a backup, or remove it on purpose");
  }
  base::MutexLock lock(keeper->mutex_);
  keeper->kept_ = KeptBundle{stored.bundle(), absl::FromUnixSeconds(stored.fetch_time().seconds())};
  keeper->stored_ = keeper->kept_->fetched;
  return keeper;
}

TrustKeeper::~TrustKeeper() { Stop(); }

absl::StatusOr<KeptBundle> TrustKeeper::Get() {
  base::MutexLock lock(mutex_);
  if (!kept_.has_value()) {
    return base::Error(
        absl::StatusCode::kUnavailable, "TRUST_NOT_YET",
        "this node has not reached the hub yet, so it cannot judge permits or people");
  }
  return *kept_;
}

absl::Status TrustKeeper::Accept(const v1::TrustBundle& bundle) {
  std::function<void()> tell;
  absl::Status written;
  {
    base::MutexLock lock(mutex_);
    if (kept_.has_value() && bundle.epoch() < kept_->bundle.epoch()) {
      return base::Error(
          absl::StatusCode::kFailedPrecondition, "EPOCH_ROLLBACK",
          absl::StrCat("the hub sent epoch ", bundle.epoch(), ", but this node has seen ",
                       kept_->bundle.epoch(),
                       "; was the hub restored from an old backup? its operator must set "
                       "minimumEpoch, see services/access/README.md"));
    }
    const bool changed = !kept_.has_value() || !SameContent(kept_->bundle, bundle);
    // In force before it is on the disk: a revocation does not wait for space.
    kept_ = KeptBundle{bundle, clock_.Now()};
    if (changed) tell = changed_;
    unwritten_ = unwritten_ || changed;
    // The fetch time alone changes every few seconds, which is not worth a write each time.
    const absl::Duration max_age = max_age_ ? max_age_() : absl::Hours(1);
    if (unwritten_ || kept_->fetched - stored_ >= max_age / 10) written = Write();
  }
  if (tell) tell();
  return written;
}

absl::Status TrustKeeper::Write() {
  v1::GetTrustBundleResponse stored;
  *stored.mutable_bundle() = kept_->bundle;
  stored.mutable_fetch_time()->set_seconds(absl::ToUnixSeconds(kept_->fetched));
  RETURN_IF_ERROR(base::WriteFileAtomically(path_, stored.SerializeAsString(), 0600));
  stored_ = kept_->fetched;
  unwritten_ = false;
  return absl::OkStatus();
}

void TrustKeeper::Start(absl::Duration period, Fetch fetch, std::function<void()> changed) {
  {
    // Bundles that the hub pushes may come already.
    base::MutexLock lock(mutex_);
    changed_ = std::move(changed);
  }
  puller_ = std::thread([this, period, fetch = std::move(fetch)] {
    OutageLog outage("trust.pull_failed", "trust.pull_recovered");
    while (true) {
      absl::StatusOr<v1::TrustBundle> bundle = fetch();
      outage.Tell(bundle.ok() ? Accept(*bundle) : bundle.status());
      base::MutexLock lock(mutex_);
      // Sooner while the first one is missing: other services wait for it.
      const absl::Duration wait = kept_.has_value() ? period : absl::Milliseconds(200);
      if (!stopping_) wake_.WaitFor(mutex_, absl::ToChronoNanoseconds(wait));
      if (stopping_) return;
    }
  });
}

void TrustKeeper::Stop() {
  {
    base::MutexLock lock(mutex_);
    stopping_ = true;
    wake_.SignalAll();
  }
  if (puller_.joinable()) puller_.join();
}

}  // namespace oncomesh::access
