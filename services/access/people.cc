// SPDX-License-Identifier: Apache-2.0
#include "services/access/people.h"

#include <algorithm>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "libs/base/error.h"
#include "libs/base/random.h"
#include "libs/base/status_macros.h"
#include "libs/crypto/digest.h"
#include "libs/crypto/jws.h"

namespace oncomesh::access {
namespace {

using nlohmann::json;

constexpr absl::Duration kSkew = absl::Seconds(60);
constexpr absl::Duration kLongestToken = absl::Hours(24);
constexpr size_t kMaxVerified = 10'000;

absl::Status Refused(absl::string_view reason, absl::string_view message) {
  return base::Error(absl::StatusCode::kUnauthenticated, reason, message);
}

bool HasAudience(const json& payload, const v1::PeopleIssuer& issuer) {
  auto wanted = [&](const json& value) {
    return value.is_string() &&
           std::find(issuer.audiences().begin(), issuer.audiences().end(),
                     value.get_ref<const std::string&>()) != issuer.audiences().end();
  };
  if (!payload.contains("aud")) return false;
  const json& audience = payload["aud"];
  if (!audience.is_array()) return wanted(audience);
  return std::any_of(audience.begin(), audience.end(), wanted);
}

bool Seconds(const json& payload, const char* name, absl::Time& out) {
  if (!payload.contains(name) || !payload[name].is_number()) return false;
  const double seconds = payload[name].get<double>();
  if (!(seconds >= 0 && seconds < 253402300800.0)) return false;
  out = absl::FromUnixSeconds(static_cast<int64_t>(seconds));
  return true;
}

absl::StatusOr<crypto::Jws> VerifyBy(const v1::PeopleIssuer& issuer, absl::string_view token) {
  if (issuer.jwks().empty()) {
    return base::Error(absl::StatusCode::kUnavailable, "ISSUER_KEYS_NOT_YET",
                       "the keys of the token's issuer could not be fetched yet; try again soon");
  }
  ASSIGN_OR_RETURN(crypto::KeySet keys, crypto::ParseJwks(issuer.jwks()));
  absl::StatusOr<crypto::Jws> jws = crypto::VerifyJws(token, keys);
  if (jws.ok()) return jws;
  if (base::ReasonOf(jws.status()) == "JWS_KEY_UNKNOWN") {
    return Refused("TOKEN_KEY_UNKNOWN",
                   "the token is signed by a key that its issuer does not publish (any more)");
  }
  return Refused("TOKEN_SIGNATURE_INVALID", "the signature of the token is not genuine");
}

}  // namespace

People::People(const google::protobuf::RepeatedPtrField<config::v1::Person>& people,
               PeopleIssuers issuers, base::Clock& clock, FindKeys find_keys)
    : issuers_(std::move(issuers)), find_keys_(std::move(find_keys)), clock_(clock) {
  for (const config::v1::Person& person : people) {
    auto& roles = roles_[person.subject()];
    roles.insert(roles.end(), person.roles().begin(), person.roles().end());
  }
}

absl::StatusOr<rpc::Person> People::Authenticate(absl::string_view token) {
  if (token.size() > crypto::kMaxJwsBytes) {
    return Refused("TOKEN_MALFORMED", "the token is larger than 16 KiB");
  }
  const std::string digest = crypto::Sha256Bytes(token);
  uint64_t generation = 0;
  {
    base::MutexLock lock(mutex_);
    generation = generation_;
    auto it = verified_.find(digest);
    if (it != verified_.end()) {
      if (clock_.Now() < it->second.expires) return it->second;
      verified_.erase(it);
    }
  }
  ASSIGN_OR_RETURN(rpc::Person person, Verify(token));
  base::MutexLock lock(mutex_);
  // Judged by keys that may have been taken back meanwhile: good for this call, not for later ones.
  if (generation != generation_) return person;
  if (verified_.size() >= kMaxVerified) verified_.clear();
  verified_[digest] = person;
  return person;
}

void People::Forget() {
  base::MutexLock lock(mutex_);
  ++generation_;
  verified_.clear();
}

absl::StatusOr<v1::PeopleIssuer> People::Issuer(const std::string& name) const {
  ASSIGN_OR_RETURN(std::vector<v1::PeopleIssuer> issuers, issuers_());
  if (issuers.size() > 1) {
    return base::Error(absl::StatusCode::kFailedPrecondition, "ISSUERS_AMBIGUOUS",
                       "the hub names several issuers of people's tokens, so a subject could be "
                       "two people; the hub's operator must leave one");
  }
  auto issuer = std::find_if(issuers.begin(), issuers.end(),
                             [&](const auto& i) { return i.issuer() == name; });
  if (issuer == issuers.end()) {
    return Refused("TOKEN_ISSUER_UNKNOWN", "the issuer of the token is not trusted here");
  }
  return *std::move(issuer);
}

absl::StatusOr<rpc::Person> People::Verify(absl::string_view token) {
  absl::StatusOr<crypto::Jws> unverified = crypto::PeekJws(token);
  if (!unverified.ok()) return Refused("TOKEN_MALFORMED", unverified.status().message());
  const json& claims = unverified->payload;
  if (!claims.contains("iss") || !claims["iss"].is_string()) {
    return Refused("TOKEN_MALFORMED", "the token names no issuer");
  }
  // A permit, a visa or a passport is signed too, but speaks for nobody here (RFC 8725 §3.11).
  const std::string& typ = unverified->typ;
  if (!typ.empty() && !absl::EqualsIgnoreCase(typ, "JWT") &&
      !absl::EqualsIgnoreCase(typ, "at+jwt")) {
    return Refused("TOKEN_MALFORMED", "this kind of token is no sign-in");
  }
  const std::string issuer_name = claims["iss"].get<std::string>();
  ASSIGN_OR_RETURN(v1::PeopleIssuer issuer, Issuer(issuer_name));
  absl::StatusOr<crypto::Jws> jws = VerifyBy(issuer, token);
  const std::string why = base::ReasonOf(jws.status());
  if ((why == "TOKEN_KEY_UNKNOWN" || why == "ISSUER_KEYS_NOT_YET") && find_keys_ &&
      find_keys_(issuer_name)) {
    ASSIGN_OR_RETURN(issuer, Issuer(issuer_name));
    jws = VerifyBy(issuer, token);
  }
  RETURN_IF_ERROR(jws.status());
  const absl::Time now = clock_.Now();
  absl::Time expires, issued, not_before;
  if (!Seconds(jws->payload, "exp", expires) || !Seconds(jws->payload, "iat", issued)) {
    return Refused("TOKEN_MALFORMED", "the token must carry exp and iat");
  }
  if (now >= expires + kSkew)
    return Refused("TOKEN_EXPIRED", "the token has expired; sign in again");
  if (issued > now + kSkew) return Refused("TOKEN_NOT_YET_VALID", "the token is from the future");
  if (jws->payload.contains("nbf") &&
      (!Seconds(jws->payload, "nbf", not_before) || not_before > now + kSkew)) {
    return Refused("TOKEN_NOT_YET_VALID", "the token is not valid yet");
  }
  if (!HasAudience(jws->payload, issuer)) {
    return Refused("TOKEN_AUDIENCE", "the token was issued for another service");
  }
  if (!jws->payload.contains("sub") || !jws->payload["sub"].is_string()) {
    return Refused("TOKEN_MALFORMED", "the token names no subject");
  }
  rpc::Person person;
  person.subject = jws->payload["sub"].get<std::string>();
  if (person.subject.empty() || person.subject.size() > 255) {
    return Refused("TOKEN_MALFORMED", "the subject has 1 to 255 characters");
  }
  // The audit log names the actor; what it cannot write down may do nothing.
  if (std::any_of(person.subject.begin(), person.subject.end(),
                  [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7f; })) {
    return Refused("TOKEN_MALFORMED", "the subject has control characters");
  }
  person.expires = std::min(expires, now + kLongestToken);
  auto roles = roles_.find(person.subject);
  if (roles != roles_.end()) person.roles = roles->second;
  return person;
}

absl::StatusOr<std::unique_ptr<LocalIssuer>> LocalIssuer::Open(
    const config::v1::LocalIssuer& config, const std::string& state_dir, bool production,
    base::Clock& clock) {
  if (production) {
    return base::Error(
        absl::StatusCode::kFailedPrecondition, "LOCAL_ISSUER_IN_PRODUCTION",
        "localIssuer is for development and cannot be enabled with production: true; "
        "configure `issuers` instead");
  }
  if (config.issuer().empty() || config.audience().empty()) {
    return base::Error(absl::StatusCode::kInvalidArgument, "CONFIG_INVALID",
                       "localIssuer needs issuer and audience");
  }
  ASSIGN_OR_RETURN(crypto::PrivateKey key, crypto::PrivateKey::LoadOrGenerate(
                                               state_dir + "/issuer.key", crypto::KeyType::kP256));
  return std::unique_ptr<LocalIssuer>(new LocalIssuer(config, std::move(key), clock));
}

absl::StatusOr<LocalIssuer::Issued> LocalIssuer::Issue(absl::string_view credential) const {
  const std::string digest = crypto::Sha256Hex(credential);
  const config::v1::Credential* found = nullptr;
  // All are compared, so that the time tells nothing.
  for (const config::v1::Credential& known : config_.credentials()) {
    if (crypto::EqualConstantTime(known.secret_sha256(), digest)) found = &known;
  }
  if (found == nullptr) {
    return Refused("CREDENTIAL_INVALID", "the local issuer knows no such credential");
  }
  const absl::Time now = clock_.Now();
  const int minutes =
      config_.token_minutes() == 0 ? 15 : std::clamp(config_.token_minutes(), 1, 60);
  Issued out;
  out.expires = now + absl::Minutes(minutes);
  json payload = {{"iss", config_.issuer()},
                  {"aud", config_.audience()},
                  {"sub", found->subject()},
                  {"iat", absl::ToUnixSeconds(now)},
                  {"exp", absl::ToUnixSeconds(out.expires)},
                  {"jti", base::NewUuid()}};
  out.token = crypto::SignJws(key_, crypto::Thumbprint(key_.Public()), "JWT", payload.dump());
  return out;
}

v1::PeopleIssuer LocalIssuer::Describe() const {
  v1::PeopleIssuer out;
  out.set_issuer(config_.issuer());
  out.add_audiences(config_.audience());
  out.set_jwks(crypto::PrintJwks({{crypto::Thumbprint(key_.Public()), key_.Public()}}));
  return out;
}

}  // namespace oncomesh::access
