// SPDX-License-Identifier: Apache-2.0
// People's tokens and the local issuer, without a network.
#include "services/access/people.h"

#include <catch2/catch.hpp>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "libs/crypto/jws.h"
#include "libs/testing/status_matchers.h"
#include "libs/testing/temporary_folder.h"
#include "services/access/wire.h"

namespace oncomesh::access {
namespace {

using absl::StatusCode;

// People over one issuer whose keys can be changed.
struct SignIn {
  SignIn() {
    config::v1::Person person;
    person.set_subject("ana");
    person.add_roles("researcher");
    *configured.Add() = person;
    Publish();
    people = std::make_unique<People>(configured, [this] { return issuers; }, clock);
  }
  void Publish() {
    v1::PeopleIssuer issuer;
    issuer.set_issuer("https://idp/");
    issuer.add_audiences("oncomesh");
    issuer.set_jwks(crypto::PrintJwks({{"k", key.Public()}}));
    issuers = {issuer};
  }
  std::string Token(nlohmann::json changes = {}, const std::string& typ = "JWT") {
    const int64_t now = absl::ToUnixSeconds(clock.Now());
    nlohmann::json claims = {{"iss", "https://idp/"},
                             {"aud", "oncomesh"},
                             {"sub", "ana"},
                             {"iat", now},
                             {"exp", now + 300}};
    for (auto& [name, value] : changes.items()) {
      if (value.is_null())
        claims.erase(name);
      else
        claims[name] = value;
    }
    return crypto::SignJws(key, "k", typ, claims.dump());
  }
  base::FakeClock clock;
  crypto::PrivateKey key = crypto::PrivateKey::Generate(crypto::KeyType::kP256);
  google::protobuf::RepeatedPtrField<config::v1::Person> configured;
  std::vector<v1::PeopleIssuer> issuers;
  std::unique_ptr<People> people;
};

TEST_CASE("people: a good token gives its subject and the roles of this site") {
  SignIn s;
  REQUIRE_VALUE(rpc::Person ana, s.people->Authenticate(s.Token()));
  CHECK(ana.subject == "ana");
  CHECK(ana.roles == std::vector<std::string>{"researcher"});
  REQUIRE_VALUE(rpc::Person stranger, s.people->Authenticate(s.Token({{"sub", "bob"}})));
  CHECK(stranger.roles.empty());
  REQUIRE_OK(s.people->Authenticate(s.Token({{"aud", {"other", "oncomesh"}}})));
}

TEST_CASE("people: a subject is one person, so there is one issuer") {
  SignIn s;
  REQUIRE_OK(s.people->Authenticate(s.Token()));
  v1::PeopleIssuer second = s.issuers[0];
  second.set_issuer("https://other/");
  s.issuers.push_back(second);
  s.people->Forget();
  // The other's ana is nobody here, and while both are named neither is anybody.
  REQUIRE_REASON(s.people->Authenticate(s.Token({{"iss", "https://other/"}})),
                 StatusCode::kFailedPrecondition, "ISSUERS_AMBIGUOUS");
  REQUIRE_REASON(s.people->Authenticate(s.Token()), StatusCode::kFailedPrecondition,
                 "ISSUERS_AMBIGUOUS");
}

TEST_CASE("people: a hub that is told of two issuers does not start") {
  testing::TemporaryFolder folder;
  config::v1::AccessConfig config;
  config.set_identity_root(folder / "identity");
  config.mutable_service()->set_identity_dir(folder / "identity/access");
  config.add_services("access");
  config.add_issuers()->set_issuer("https://idp/");
  config.mutable_local_issuer()->set_enabled(true);
  REQUIRE_REASON(Wire(config, rpc::Role::kHub).status(), StatusCode::kInvalidArgument,
                 "CONFIG_INVALID");
  CHECK_FALSE(std::filesystem::exists(folder / "identity"));
}

TEST_CASE("people: every wrong token has its reason") {
  SignIn s;
  const int64_t now = absl::ToUnixSeconds(s.clock.Now());
  auto refused = [&](const std::string& token, const std::string& reason) {
    INFO(reason);
    REQUIRE_REASON(s.people->Authenticate(token), StatusCode::kUnauthenticated, reason);
  };
  refused("x", "TOKEN_MALFORMED");
  refused(s.Token({{"iss", "https://idp"}}), "TOKEN_ISSUER_UNKNOWN");  // a slash is a difference
  refused(s.Token({{"iss", nullptr}}), "TOKEN_MALFORMED");
  refused(s.Token({{"aud", "other"}}), "TOKEN_AUDIENCE");
  refused(s.Token({{"aud", nullptr}}), "TOKEN_AUDIENCE");
  refused(s.Token({{"exp", now - 61}}), "TOKEN_EXPIRED");
  refused(s.Token({{"exp", nullptr}}), "TOKEN_MALFORMED");
  refused(s.Token({{"iat", now + 61}}), "TOKEN_NOT_YET_VALID");
  refused(s.Token({{"nbf", now + 61}}), "TOKEN_NOT_YET_VALID");
  refused(s.Token({{"sub", 7}}), "TOKEN_MALFORMED");
  refused(s.Token({}, "oncomesh-permit+jwt"), "TOKEN_MALFORMED");
  std::string bent = s.Token();
  bent[bent.size() - 10] = bent[bent.size() - 10] == 'A' ? 'B' : 'A';
  refused(bent, "TOKEN_SIGNATURE_INVALID");
}

TEST_CASE("people: a token of a key that was taken back is refused once forgotten, and expires") {
  SignIn s;
  const std::string token = s.Token();
  REQUIRE_OK(s.people->Authenticate(token));
  s.key = crypto::PrivateKey::Generate(crypto::KeyType::kP256);
  s.Publish();
  s.people->Forget();
  REQUIRE_REASON(s.people->Authenticate(token), StatusCode::kUnauthenticated,
                 "TOKEN_SIGNATURE_INVALID");
  const std::string fresh = s.Token();
  REQUIRE_OK(s.people->Authenticate(fresh));
  s.clock.Advance(absl::Minutes(7));
  REQUIRE_REASON(s.people->Authenticate(fresh), StatusCode::kUnauthenticated, "TOKEN_EXPIRED");
}

TEST_CASE("people: a token that is being verified while its key is taken back is not remembered") {
  SignIn s;
  bool take_back = true;
  std::unique_ptr<People> people;
  people = std::make_unique<People>(
      s.configured,
      [&] {
        std::vector<v1::PeopleIssuer> before = s.issuers;
        if (std::exchange(take_back, false)) {
          s.issuers[0].set_jwks(crypto::PrintJwks(
              {{"k", crypto::PrivateKey::Generate(crypto::KeyType::kP256).Public()}}));
          people->Forget();
        }
        return before;
      },
      s.clock);
  const std::string token = s.Token();
  REQUIRE_OK(people->Authenticate(token));  // begun before
  REQUIRE_REASON(people->Authenticate(token), StatusCode::kUnauthenticated,
                 "TOKEN_SIGNATURE_INVALID");
}

TEST_CASE("local issuer: refuses production; gives tokens for credentials it knows") {
  testing::TemporaryFolder folder;
  base::FakeClock clock;
  config::v1::LocalIssuer config;
  config.set_enabled(true);
  config.set_issuer("https://local/");
  config.set_audience("oncomesh");
  auto& credential = *config.add_credentials();
  credential.set_subject("ana");
  credential.set_secret_sha256(
      "2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b");  // "secret"
  REQUIRE_REASON(LocalIssuer::Open(config, folder.path(), true, clock),
                 StatusCode::kFailedPrecondition, "LOCAL_ISSUER_IN_PRODUCTION");
  REQUIRE_VALUE(auto issuer, LocalIssuer::Open(config, folder.path(), false, clock));
  REQUIRE_REASON(issuer->Issue("wrong"), StatusCode::kUnauthenticated, "CREDENTIAL_INVALID");
  REQUIRE_VALUE(LocalIssuer::Issued issued, issuer->Issue("secret"));
  People people({}, [&] { return std::vector<v1::PeopleIssuer>{issuer->Describe()}; }, clock);
  REQUIRE_VALUE(rpc::Person person, people.Authenticate(issued.token));
  CHECK(person.subject == "ana");
}

}  // namespace
}  // namespace oncomesh::access
