// SPDX-License-Identifier: Apache-2.0
// Vectors of the standards: FIPS 180-4, RFC 4231, RFC 8032, RFC 8037, RFC 7515, RFC 7638.
#include <catch2/catch.hpp>
#include <string>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "libs/crypto/digest.h"
#include "libs/crypto/encoding.h"
#include "libs/crypto/jws.h"
#include "libs/crypto/keys.h"
#include "libs/crypto/x509.h"
#include "libs/testing/status_matchers.h"

namespace oncomesh::crypto {
namespace {

using absl::StatusCode;

std::string Hex(absl::string_view hex) { return absl::HexStringToBytes(hex); }

TEST_CASE("SHA-256: FIPS 180-4 examples, whole and in parts") {
  CHECK(Sha256Hex("") == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  CHECK(Sha256Hex("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq") ==
        "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
  Sha256 digest;
  for (int i = 0; i < 1000; ++i) digest.Update(std::string(1000, 'a'));
  CHECK(digest.FinishHex() == "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
  digest.Update("abc");
  CHECK(digest.FinishHex() == Sha256Hex("abc"));
}

TEST_CASE("HMAC-SHA-256: RFC 4231") {
  CHECK(absl::BytesToHexString(HmacSha256(std::string(20, '\x0b')).Compute("Hi There")) ==
        "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7");
  CHECK(absl::BytesToHexString(HmacSha256("Jefe").Compute("what do ya want for nothing?")) ==
        "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
  CHECK(absl::BytesToHexString(
            HmacSha256(std::string(131, '\xaa'))
                .Compute("Test Using Larger Than Block-Size Key - Hash Key First")) ==
        "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54");
}

TEST_CASE("base64: only the canonical spelling is read") {
  REQUIRE_VALUE(std::string bytes, Base64UrlDecode("_-8"));
  CHECK(bytes == "\xff\xef");
  for (const char* bad : {"_-9", "_-8=", "/+8", "_- 8", "A"}) {
    INFO(bad);
    REQUIRE_REASON(Base64UrlDecode(bad), StatusCode::kInvalidArgument, "BASE64_INVALID");
  }
  REQUIRE_REASON(Base64Decode("/+8"), StatusCode::kInvalidArgument, "BASE64_INVALID");
}

TEST_CASE("Ed25519: RFC 8032 §7.1 tests 1 to 3") {
  struct Vector {
    const char *seed, *public_key, *message, *signature;
  };
  for (const Vector& v :
       {Vector{"9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
               "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a", "",
               "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61"
               "e39701cf9b46b"
               "d25bf5f0595bbe24655141438e7a100b"},
        Vector{"4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
               "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c", "72",
               "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458"
               "f3613d0f11d8c"
               "387b2eaeb4302aeeb00d291612bb0c00"},
        Vector{"c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7",
               "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025", "af82",
               "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290ae6"
               "7f760984dc659"
               "4a7c15e9716ed28dc027beceea1ec40a"}}) {
    REQUIRE_VALUE(PrivateKey key, PrivateKey::FromEd25519Seed(Hex(v.seed)));
    CHECK(absl::BytesToHexString(key.Public().Raw()) == v.public_key);
    CHECK(absl::BytesToHexString(key.Sign(Hex(v.message))) == v.signature);
    CHECK(key.Public().Verify(Hex(v.message), Hex(v.signature)));
    std::string bent = Hex(v.signature);
    bent[0] ^= 1;
    CHECK_FALSE(key.Public().Verify(Hex(v.message), bent));
  }
}

TEST_CASE("JWS: RFC 8037 A.4, EdDSA") {
  REQUIRE_VALUE(PublicKey key,
                PublicKey::FromEd25519(
                    Hex("d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a")));
  CHECK(Thumbprint(key) == "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k");  // A.3
}

TEST_CASE("JWS: RFC 7515 A.2 (RS256) and A.3 (ES256) verify, and not when bent") {
  // A.3: the signature is over the header {"alg":"ES256"}, which has no kid, so the key is under
  // "".
  auto p256 = PublicKey::FromP256(*Base64UrlDecode("f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU"),
                                  *Base64UrlDecode("x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"));
  REQUIRE_OK(p256);
  const std::string text =
      "eyJhbGciOiJFUzI1NiJ9."
      "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVl"
      "fQ."
      "DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q";
  REQUIRE_VALUE(Jws jws, VerifyJws(text, {{"", *p256}}));
  CHECK(jws.payload["iss"] == "joe");
  std::string bent = text;
  bent[60] = bent[60] == 'A' ? 'B' : 'A';
  CHECK_FALSE(VerifyJws(bent, {{"", *p256}}).ok());
  // Another type of key under the same kid is not used with the header's algorithm.
  auto ed = PrivateKey::Generate(KeyType::kEd25519);
  REQUIRE_REASON(VerifyJws(text, {{"", ed.Public()}}), StatusCode::kUnauthenticated,
                 "JWS_ALGORITHM");
}

TEST_CASE("JWS: none, missing and embedded keys, and doubled names are refused") {
  auto key = PrivateKey::Generate(KeyType::kEd25519);
  KeySet keys = {{"k", key.Public()}};
  auto token = [&](const std::string& header, const std::string& payload, bool sign = true) {
    std::string text = absl::StrCat(Base64Url(header), ".", Base64Url(payload));
    return absl::StrCat(text, ".", sign ? Base64Url(key.Sign(text)) : "");
  };
  REQUIRE_OK(VerifyJws(token(R"({"alg":"EdDSA","kid":"k"})", "{}"), keys));
  for (const char* alg : {"none", "None", "NONE", "HS256", "ES256", "eddsa"}) {
    REQUIRE_REASON(
        VerifyJws(token(absl::StrCat(R"({"alg":")", alg, R"(","kid":"k"})"), "{}"), keys),
        StatusCode::kUnauthenticated, "JWS_ALGORITHM");
  }
  REQUIRE_REASON(VerifyJws(token(R"({"alg":"EdDSA","kid":"k"})", "{}", false), keys),
                 StatusCode::kUnauthenticated, "JWS_SIGNATURE_INVALID");
  REQUIRE_REASON(VerifyJws(token(R"({"alg":"EdDSA","kid":"../k"})", "{}"), keys),
                 StatusCode::kUnauthenticated, "JWS_KEY_UNKNOWN");
  for (const char* header :
       {R"({"alg":"EdDSA","kid":"k","crit":["x"]})", R"({"alg":"EdDSA","kid":"k","jwk":{}})",
        R"({"alg":"EdDSA","kid":"k","jku":"https://x"})",
        R"({"alg":"EdDSA","kid":"k","b64":false})", R"({"alg":"none","alg":"EdDSA","kid":"k"})",
        R"({"alg":"EdDSA","kid":7})", "[]"}) {
    INFO(header);
    REQUIRE_REASON(VerifyJws(token(header, "{}"), keys), StatusCode::kInvalidArgument,
                   "JWS_MALFORMED");
  }
  const std::string deep = std::string(40, '[') + std::string(40, ']');
  for (const std::string& payload :
       {std::string(R"({"sub":"a","sub":"b"})"), absl::StrCat(R"({"x":)", deep, "}"),
        std::string("{} {}"), std::string("\"text\""), std::string("{\"a\":\"\xff\"}")}) {
    REQUIRE_REASON(VerifyJws(token(R"({"alg":"EdDSA","kid":"k"})", payload), keys),
                   StatusCode::kInvalidArgument, "JWS_MALFORMED");
  }
  REQUIRE_REASON(VerifyJws(std::string(20'000, 'a'), keys), StatusCode::kInvalidArgument,
                 "JWS_MALFORMED");
}

TEST_CASE("JWKS: what was printed is read; weak and foreign keys are left out") {
  auto ed = PrivateKey::Generate(KeyType::kEd25519), ec = PrivateKey::Generate(KeyType::kP256);
  REQUIRE_VALUE(KeySet keys, ParseJwks(PrintJwks({{"a", ed.Public()}, {"b", ec.Public()}})));
  REQUIRE(keys.size() == 2);
  CHECK(keys.at("a").Verify("m", ed.Sign("m")));
  CHECK(keys.at("b").Verify("m", ec.Sign("m")));
  const std::string short_n = Base64Url(std::string(128, '\xff'));
  REQUIRE_VALUE(KeySet none,
                ParseJwks(absl::StrCat(R"({"keys":[{"kty":"RSA","kid":"r","n":")", short_n,
                                       R"(","e":"AQAB"},{"kty":"oct","kid":"o","k":"AA"}]})")));
  CHECK(none.empty());
  REQUIRE_REASON(ParseJwks("{}"), StatusCode::kInvalidArgument, "JWKS_INVALID");
}

TEST_CASE("X.509: a certificate names the service its authority gave it, whatever was asked for") {
  auto authority_key = PrivateKey::Generate(KeyType::kP256),
       key = PrivateKey::Generate(KeyType::kP256);
  absl::Time now = absl::FromUnixSeconds(1'800'000'000);
  std::string authority =
      CreateAuthority(authority_key, "mesh", now - absl::Hours(1), now + absl::Hours(24));
  CertificateRequest wanted{.uri = "spiffe://mesh/node/a/relay",
                            .dns = {"localhost"},
                            .ips = {"127.0.0.1"},
                            .not_before = now,
                            .not_after = now + absl::Hours(2)};
  REQUIRE_VALUE(std::string pem,
                IssueCertificate(authority, authority_key, CreateSigningRequest(key), wanted));
  REQUIRE_VALUE(CertificateInfo info, ParseCertificate(pem));
  CHECK(info.uris == std::vector<std::string>{"spiffe://mesh/node/a/relay"});
  CHECK(info.not_after == wanted.not_after);
  CHECK_FALSE(info.is_authority);
  CHECK(Matches(pem, key));
  REQUIRE_OK(VerifyChain(pem, authority, now + absl::Hours(1)));
  REQUIRE_REASON(VerifyChain(pem, authority, now + absl::Hours(3)), StatusCode::kUnauthenticated,
                 "CERTIFICATE_UNTRUSTED");
  auto other_key = PrivateKey::Generate(KeyType::kP256);
  std::string other = CreateAuthority(other_key, "mesh", now, now + absl::Hours(24));
  REQUIRE_REASON(VerifyChain(pem, other, now + absl::Hours(1)), StatusCode::kUnauthenticated,
                 "CERTIFICATE_UNTRUSTED");
  REQUIRE_REASON(IssueCertificate(authority, other_key, CreateSigningRequest(key), wanted),
                 StatusCode::kFailedPrecondition, "AUTHORITY_INVALID");
  // A leaf cannot issue.
  REQUIRE_VALUE(std::string below,
                IssueCertificate(pem, key, CreateSigningRequest(other_key), wanted));
  CHECK_FALSE(VerifyChain(below, authority, now + absl::Hours(1)).ok());
  for (const char* bad :
       {"", "-----BEGIN CERTIFICATE REQUEST-----\nAAAA\n-----END CERTIFICATE REQUEST-----\n"}) {
    REQUIRE_REASON(IssueCertificate(authority, authority_key, bad, wanted),
                   StatusCode::kInvalidArgument, "CSR_INVALID");
  }
}

}  // namespace
}  // namespace oncomesh::crypto
