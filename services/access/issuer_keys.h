// SPDX-License-Identifier: Apache-2.0
// The keys with which the issuers of people's tokens sign: from a file, from a URL, or found by
// OpenID Connect Discovery 1.0, and fetched again and again, since issuers change them.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "libs/base/clock.h"
#include "libs/base/mutex.h"
#include "oncomesh/access/v1/trust.pb.h"
#include "services/access/config.pb.h"
#include "services/access/https_get.h"

namespace oncomesh::access {

// A set once fetched stays in use until a newer one takes its place as a whole: a fetch that fails,
// or brings no key that can be used, changes nothing and shows as `issuer.keys_failed` in the log
// (once per outage) and as oncomesh_issuer_keys_fetches_total{issuer,result}. The last good set
// outlives a restart in `<state_dir>/issuer-keys/`. Any thread.
class IssuerKeys {
 public:
  using Get =
      std::function<absl::StatusOr<std::string>(const std::string& url, const HttpsGetOptions&)>;
  struct Deps {
    base::Clock& clock;
    Get get = HttpsGet;
    absl::Duration timeout = absl::Seconds(10);  // of one fetch
  };
  // A key that is not in the set makes it be fetched again, but not sooner than this after the last
  // attempt: strangers can make up as many kids as they like.
  static constexpr absl::Duration kSoonestRefresh = absl::Seconds(30);
  // How often FetchDue looks whether a file of keys has changed.
  static constexpr absl::Duration kFileLook = absl::Seconds(5);

  // Nothing is fetched yet. Errors: INVALID_ARGUMENT (CONFIG_INVALID) when an issuer does not name
  // exactly one source of keys, is named twice, or names an address that CheckHttpsUrl refuses.
  static absl::StatusOr<std::unique_ptr<IssuerKeys>> Open(
      const google::protobuf::RepeatedPtrField<config::v1::Issuer>& issuers,
      const std::string& state_dir, bool production, Deps deps);
  ~IssuerKeys();

  // Every issuer with its keys of now; `jwks` is empty while none were ever had. Files are read
  // anew; nothing is fetched.
  std::vector<v1::PeopleIssuer> Issuers();

  // Fetches the keys of `issuer` now, unless that was tried within kSoonestRefresh or its keys come
  // from a file. When another thread is at it, waits up to 3 s for its
  // result. True when the keys are others
  // than before the call.
  bool Refresh(absl::string_view issuer);

  // Fetches whatever is due by `clock`: every issuer at first, then at its interval; after a
  // failure already kSoonestRefresh later. Returns when to look again.
  absl::Duration FetchDue();

  // FetchDue in a thread of its own, until Stop. `changed` is called (also by Refresh) after keys
  // have changed, those of a file within kFileLook.
  void Start(std::function<void()> changed);
  void Stop();

 private:
  struct Source {
    config::v1::Issuer config;
    std::string kept_path;
    std::string jwks;
    absl::Time attempted = absl::InfinitePast();
    absl::Time due = absl::InfinitePast();
    bool failing = false;
    bool busy = false;
    bool looked = false;  // `jwks` is what the file held at the last look
  };
  IssuerKeys(bool production, Deps deps) : production_(production), deps_(std::move(deps)) {}

  bool Fetch(Source& source);
  void LookAtFile(Source& source);
  absl::StatusOr<std::string> Download(const config::v1::Issuer& issuer) const;

  const bool production_;
  const Deps deps_;
  base::Mutex mutex_;
  // Neither grows nor moves after Open.
  std::vector<std::unique_ptr<Source>> sources_;
  std::function<void()> changed_ ABSL_GUARDED_BY(mutex_);
  base::CondVar wake_;
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
  std::thread fetcher_;
};

}  // namespace oncomesh::access
