// SPDX-License-Identifier: Apache-2.0
#include "libs/permit/permit.h"

#include <catch2/catch.hpp>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "libs/crypto/encoding.h"
#include "libs/testing/status_matchers.h"

namespace oncomesh::permit {
namespace {

using absl::StatusCode;

struct World {
  crypto::PrivateKey key = crypto::PrivateKey::Generate(crypto::KeyType::kEd25519);
  absl::Time now = absl::FromUnixSeconds(1'800'000'000);
  Permit permit{
      .id = "permit-1",
      .issuer = "mesh",
      .people = {"ana"},
      .datasets = {"nodes/north/datasets/a/versions/1", "nodes/south/datasets/b/versions/2"},
      .purpose = "DUO:0000006",
      .operations = {"train", "evaluate"},
      .max_rounds = 20,
      .not_before = now - absl::Hours(1),
      .expires = now + absl::Hours(1),
      .epoch = 7,
      .request = "req-1"};
  TrustState trust{.issuer = "mesh",
                   .keys = {{"k", key.Public()}},
                   .revoked = {},
                   .epoch = 7,
                   .fetched = now,
                   .max_age = absl::Minutes(5)};
  Use use{.person = "ana",
          .operation = "train",
          .datasets = {"nodes/north/datasets/a/versions/1"},
          .node = "north",
          .now = now};
  std::string Signed() const { return *Sign(permit, key, "k"); }
};

TEST_CASE("permit: what was signed is what is read") {
  World w;
  REQUIRE_VALUE(Permit read, Check(w.Signed(), w.trust, w.use));
  CHECK(read.id == w.permit.id);
  CHECK(read.people == w.permit.people);
  CHECK(read.datasets == w.permit.datasets);
  CHECK(read.operations == w.permit.operations);
  CHECK(read.max_rounds == 20);
  CHECK(read.not_before == w.permit.not_before);
  CHECK(read.expires == w.permit.expires);
  CHECK(read.epoch == 7);
}

TEST_CASE("permit: each use that is not allowed has its own reason") {
  World w;
  SECTION("revoked") {
    w.trust.revoked.insert("permit-1");
    REQUIRE_REASON(Check(w.Signed(), w.trust, w.use), StatusCode::kPermissionDenied,
                   "PERMIT_REVOKED");
  }
  SECTION("expired, to the second") {
    w.use.now = w.permit.expires;
    w.trust.fetched = w.use.now;
    REQUIRE_REASON(Check(w.Signed(), w.trust, w.use), StatusCode::kPermissionDenied,
                   "PERMIT_EXPIRED");
    w.use.now = w.permit.expires - absl::Seconds(1);
    REQUIRE_OK(Check(w.Signed(), w.trust, w.use));
  }
  SECTION("not yet, with a minute for a clock that is late") {
    w.use.now = w.permit.not_before - absl::Seconds(61);
    w.trust.fetched = w.use.now;
    REQUIRE_REASON(Check(w.Signed(), w.trust, w.use), StatusCode::kPermissionDenied,
                   "PERMIT_NOT_YET_VALID");
    w.use.now += absl::Seconds(1);
    REQUIRE_OK(Check(w.Signed(), w.trust, w.use));
  }
  SECTION("another person") {
    w.use.person = "bob";
    REQUIRE_REASON(Check(w.Signed(), w.trust, w.use), StatusCode::kPermissionDenied,
                   "PERMIT_NOT_FOR_PERSON");
  }
  SECTION("another operation") {
    w.use.operation = "count";
    REQUIRE_REASON(Check(w.Signed(), w.trust, w.use), StatusCode::kPermissionDenied,
                   "PERMIT_OPERATION_NOT_ALLOWED");
  }
  SECTION("another dataset, and another version of the same") {
    for (const char* dataset :
         {"nodes/north/datasets/z/versions/1", "nodes/north/datasets/a/versions/2"}) {
      w.use.datasets = {dataset};
      REQUIRE_REASON(Check(w.Signed(), w.trust, w.use), StatusCode::kPermissionDenied,
                     "PERMIT_WRONG_DATASET");
    }
  }
  SECTION("a dataset of another node") {
    w.use.datasets = {"nodes/south/datasets/b/versions/2"};
    REQUIRE_REASON(Check(w.Signed(), w.trust, w.use), StatusCode::kPermissionDenied,
                   "PERMIT_WRONG_NODE");
  }
  SECTION("a site that has not heard from the hub for too long, or is behind the permit's epoch") {
    w.use.now += absl::Minutes(6);
    REQUIRE_REASON(Check(w.Signed(), w.trust, w.use), StatusCode::kUnavailable, "EPOCH_TOO_OLD");
    w.use.now = w.now - absl::Minutes(2);  // the clock was set back
    REQUIRE_REASON(Check(w.Signed(), w.trust, w.use), StatusCode::kUnavailable, "EPOCH_TOO_OLD");
    w.use.now = w.now;
    w.trust.epoch = 6;
    REQUIRE_REASON(Check(w.Signed(), w.trust, w.use), StatusCode::kUnavailable, "EPOCH_TOO_OLD");
  }
}

TEST_CASE("permit: forged, foreign and bent tokens are refused") {
  World w;
  const std::string good = w.Signed();
  SECTION("another key under the same kid") {
    auto other = crypto::PrivateKey::Generate(crypto::KeyType::kEd25519);
    REQUIRE_REASON(Verify(*Sign(w.permit, other, "k"), w.trust), StatusCode::kUnauthenticated,
                   "PERMIT_SIGNATURE_INVALID");
    REQUIRE_REASON(Verify(*Sign(w.permit, other, "j"), w.trust), StatusCode::kUnauthenticated,
                   "PERMIT_FOREIGN");
  }
  SECTION("a key of the set that is not one for permits") {
    auto other = crypto::PrivateKey::Generate(crypto::KeyType::kP256);
    w.trust.keys.emplace("p", other.Public());
    REQUIRE_REASON(Verify(*Sign(w.permit, other, "p"), w.trust), StatusCode::kUnauthenticated,
                   "PERMIT_FOREIGN");
  }
  SECTION("another mesh with a shared key") {
    w.permit.issuer = "other";
    REQUIRE_REASON(Verify(w.Signed(), w.trust), StatusCode::kUnauthenticated, "PERMIT_FOREIGN");
  }
  SECTION("every single changed character") {
    for (size_t i = 0; i < good.size(); ++i) {
      std::string bent = good;
      bent[i] = bent[i] == 'A' ? 'B' : 'A';
      if (bent == good) continue;
      INFO(i);
      CHECK_FALSE(Verify(bent, w.trust).ok());
    }
  }
  SECTION("a person's token is no permit") {
    std::string token = crypto::SignJws(w.key, "k", "JWT", R"({"iss":"mesh","sub":"ana"})");
    REQUIRE_REASON(Verify(token, w.trust), StatusCode::kInvalidArgument, "PERMIT_MALFORMED");
  }
  SECTION("claims this program does not know are not ignored") {
    std::string payload = absl::StrCat(
        R"({"ver":1,"jti":"p","iss":"mesh","people":["a"],"datasets":["d"],"purpose":"x",)",
        R"("operations":["train"],"nbf":1,"exp":2,"epoch":1,"request":"r","onlyOnSundays":true})");
    REQUIRE_REASON(Verify(crypto::SignJws(w.key, "k", kPermitType, payload), w.trust),
                   StatusCode::kInvalidArgument, "PERMIT_MALFORMED");
  }
  SECTION("each claim that is missing or of another kind") {
    const std::string good_payload =
        R"({"ver":1,"jti":"p","iss":"mesh","people":["a"],"datasets":["d"],"purpose":"x",)"
        R"("operations":["train"],"nbf":1,"exp":2,"epoch":1,"request":"r","limits":{"maxRounds":3}})";
    auto token = [&](const std::string& payload) {
      return crypto::SignJws(w.key, "k", kPermitType, payload);
    };
    REQUIRE_OK(Verify(token(good_payload), w.trust));
    for (auto [from, to] : std::initializer_list<std::pair<const char*, const char*>>{
             {"\"ver\":1,", ""},
             {"\"ver\":1", "\"ver\":2"},
             {"\"ver\":1", "\"ver\":1.0"},
             {"\"jti\":\"p\"", "\"jti\":\"\""},
             {"\"jti\":\"p\"", "\"jti\":7"},
             {"[\"a\"]", "[]"},
             {"[\"a\"]", "\"a\""},
             {"[\"a\"]", "[\"a\",7]"},
             {"[\"d\"]", "[\"\"]"},
             {"[\"train\"]", "[\"download\"]"},
             {"\"exp\":2", "\"exp\":1"},
             {"\"exp\":2", "\"exp\":18446744073709551615"},
             {"\"exp\":2", "\"exp\":1e99"},
             {"\"nbf\":1", "\"nbf\":-1"},
             {"\"epoch\":1", "\"epoch\":\"1\""},
             {"\"maxRounds\":3", "\"maxRuns\":3"},
             {"\"maxRounds\":3", "\"maxRounds\":2000000"},
             {"{\"maxRounds\":3}", "3"},
             {",\"request\":\"r\"", ""}}) {
      const std::string payload = absl::StrReplaceAll(good_payload, {{from, to}});
      INFO(payload);
      REQUIRE(payload != good_payload);
      REQUIRE_REASON(Verify(token(payload), w.trust), StatusCode::kInvalidArgument,
                     "PERMIT_MALFORMED");
    }
  }
  SECTION("garbage") {
    for (const char* text : {"", "a.b.c", "..", "not a token"}) {
      REQUIRE_REASON(Verify(text, w.trust), StatusCode::kInvalidArgument, "PERMIT_MALFORMED");
    }
  }
}

// The vector of doc/formats/permit.md: the key of RFC 8032 §7.1 test 1, and a token that Python's
// json, base64 and cryptography made from the claims.
constexpr char kVector[] =
    "eyJhbGciOiJFZERTQSIsImtpZCI6ImtQcktfcW14VldhWVZBOXd3QkY2SXVvM3ZWeno3VHhIQ1R3WEJ5Z3JTNGsi"
    "LCJ0eXAiOiJvbmNvbWVzaC1wZXJtaXQrand0In0.eyJkYXRhc2V0cyI6WyJub2Rlcy9ub3J0aC9kYXRhc2V0cy9z"
    "YXJjb21hL3ZlcnNpb25zLzEiLCJub2Rlcy9zb3V0aC9kYXRhc2V0cy9zYXJjb21hL3ZlcnNpb25zLzIiXSwiZXBv"
    "Y2giOjMsImV4cCI6MTgxNTU1MjAwMCwiaXNzIjoibWVzaC5leGFtcGxlIiwianRpIjoicGVybWl0LTdmM2sybTVx"
    "IiwibGltaXRzIjp7Im1heFJvdW5kcyI6NTB9LCJuYmYiOjE4MDAwMDAwMDAsIm9wZXJhdGlvbnMiOlsiY291bnQi"
    "LCJ0cmFpbiJdLCJwZW9wbGUiOlsiYW5hQGxvZ2luLmV4YW1wbGUiXSwicHVycG9zZSI6IkRVTzowMDAwMDA2Iiwi"
    "cmVxdWVzdCI6InJlcS05YTJiIiwidmVyIjoxfQ.LoWx1cmJRK-Q2OoTYW-BTkNhljPtJNVtrEqhEAHEDFyt0RfoD"
    "DPDjbaO_Sbf0dANwf4lXZa2uuVaz-i815PrBQ";

TEST_CASE("permit: the vector of the format's description is read, and written to the byte") {
  auto key = crypto::PrivateKey::FromEd25519Seed(
      *crypto::Base64UrlDecode("nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A"));
  REQUIRE_OK(key);
  const std::string kid = crypto::Thumbprint(key->Public());
  const absl::Time begin = absl::FromUnixSeconds(1'800'000'000);
  TrustState trust{.issuer = "mesh.example",
                   .keys = {{kid, key->Public()}},
                   .revoked = {},
                   .epoch = 3,
                   .fetched = begin,
                   .max_age = absl::Hours(1)};
  REQUIRE_VALUE(Permit permit, Check(kVector, trust,
                                     Use{.person = "ana@login.example",
                                         .operation = "train",
                                         .datasets = {"nodes/north/datasets/sarcoma/versions/1"},
                                         .node = "north",
                                         .now = begin}));
  CHECK(permit.id == "permit-7f3k2m5q");
  CHECK(permit.max_rounds == 50);
  REQUIRE_VALUE(std::string again, Sign(permit, *key, kid));
  CHECK(again == kVector);
  CHECK(Digest(kVector) == "5d322cbc76fdfaa5c5e9ae5feced40be32cd06f4c27d306b9d5f89997434157e");
}

TEST_CASE("permit: what no site would accept is not signed") {
  World w;
  // Found by growing: every permit that is signed can be verified, the next one is refused.
  w.permit.datasets.clear();
  absl::Status status;
  while (status.ok()) {
    REQUIRE(w.permit.datasets.size() < 1000);
    w.permit.datasets.push_back(absl::StrCat("nodes/north/datasets/a-rather-long-name/versions/",
                                             w.permit.datasets.size()));
    absl::StatusOr<std::string> compact = Sign(w.permit, w.key, "k");
    status = compact.status();
    if (compact.ok()) REQUIRE_OK(Verify(*compact, w.trust));
  }
  REQUIRE_REASON(status, StatusCode::kInvalidArgument, "PERMIT_TOO_LARGE");
  CHECK(w.permit.datasets.size() > 150);
  auto malformed = [&](auto change) {
    World other;
    change(other.permit);
    REQUIRE_REASON(Sign(other.permit, other.key, "k"), StatusCode::kInvalidArgument,
                   "PERMIT_MALFORMED");
  };
  malformed([](Permit& p) { p.people.clear(); });
  malformed([](Permit& p) { p.datasets.clear(); });
  malformed([](Permit& p) { p.operations = {"export"}; });
  malformed([](Permit& p) { p.purpose = std::string(513, 'x'); });
  malformed([](Permit& p) { p.expires = p.not_before; });
}

}  // namespace
}  // namespace oncomesh::permit
