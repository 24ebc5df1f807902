// SPDX-License-Identifier: Apache-2.0
// People: whose token it is, and what roles they hold at this site.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "libs/base/clock.h"
#include "libs/base/mutex.h"
#include "libs/crypto/keys.h"
#include "libs/rpc/call_guard.h"
#include "oncomesh/access/v1/trust.pb.h"
#include "services/access/config.pb.h"

namespace oncomesh::access {

// Where the issuers of people's tokens come from: the configuration at the hub, the trust bundle at
// a node. Called for every token that is not cached.
using PeopleIssuers = std::function<absl::StatusOr<std::vector<v1::PeopleIssuer>>()>;

// Looks for newer keys of an issuer; true when there are some. Called for a token whose key is
// missing, so it must bound by itself how often it asks anybody.
using FindKeys = std::function<bool(const std::string& issuer)>;

// Checks tokens (RFC 7519, RFC 8725; OIDC ID and access tokens) and knows the site's roles. A
// person is known by the subject alone, since a mesh has one issuer (AccessConfig.issuers); with
// several in the trust bundle no token is taken. Verified tokens are kept by digest until they
// expire, at most 10,000. Any thread.
class People final : public rpc::Authenticator {
 public:
  People(const google::protobuf::RepeatedPtrField<config::v1::Person>& people,
         PeopleIssuers issuers, base::Clock& clock, FindKeys find_keys = nullptr);

  // Errors: UNAUTHENTICATED (TOKEN_MALFORMED, TOKEN_SIGNATURE_INVALID, TOKEN_EXPIRED,
  // TOKEN_NOT_YET_VALID, TOKEN_ISSUER_UNKNOWN, TOKEN_AUDIENCE, TOKEN_KEY_UNKNOWN);
  // FAILED_PRECONDITION (ISSUERS_AMBIGUOUS) when there is more than one issuer; UNAVAILABLE
  // (ISSUER_KEYS_NOT_YET) while no keys of its issuer were ever had; those of the issuers' source.
  absl::StatusOr<rpc::Person> Authenticate(absl::string_view token) override;

  // Forgets verified tokens, also those that are being verified now; after a change of issuers or
  // keys.
  void Forget();

 private:
  absl::StatusOr<rpc::Person> Verify(absl::string_view token);
  // The issuer with the keys known now. Errors: UNAUTHENTICATED (TOKEN_ISSUER_UNKNOWN).
  absl::StatusOr<v1::PeopleIssuer> Issuer(const std::string& name) const;

  std::map<std::string, std::vector<std::string>> roles_;  // by subject
  PeopleIssuers issuers_;
  FindKeys find_keys_;
  base::Clock& clock_;
  base::Mutex mutex_;
  uint64_t generation_ ABSL_GUARDED_BY(mutex_) = 0;                      // raised by Forget
  std::map<std::string, rpc::Person> verified_ ABSL_GUARDED_BY(mutex_);  // by SHA-256 of the token
};

// Issues tokens for development. Any thread.
class LocalIssuer {
 public:
  // The key is in `<state_dir>/issuer.key`. Errors: FAILED_PRECONDITION
  // (LOCAL_ISSUER_IN_PRODUCTION).
  static absl::StatusOr<std::unique_ptr<LocalIssuer>> Open(const config::v1::LocalIssuer& config,
                                                           const std::string& state_dir,
                                                           bool production, base::Clock& clock);
  struct Issued {
    std::string token;
    absl::Time expires;
  };
  // Errors: UNAUTHENTICATED (CREDENTIAL_INVALID).
  absl::StatusOr<Issued> Issue(absl::string_view credential) const;
  // How sites check its tokens.
  v1::PeopleIssuer Describe() const;

 private:
  LocalIssuer(config::v1::LocalIssuer config, crypto::PrivateKey key, base::Clock& clock)
      : config_(std::move(config)), key_(std::move(key)), clock_(clock) {}
  config::v1::LocalIssuer config_;
  crypto::PrivateKey key_;
  base::Clock& clock_;
};

}  // namespace oncomesh::access
