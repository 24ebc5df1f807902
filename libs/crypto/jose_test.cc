// SPDX-License-Identifier: Apache-2.0
// Tokens that other people signed: RFC 7515 appendix A.2, RFC 8037 appendix A.4, RFC 7638 §3.1; and
// keys of each type through every form they have.
#include <catch2/catch.hpp>
#include <string>

#include "absl/strings/str_cat.h"
#include "libs/crypto/encoding.h"
#include "libs/crypto/jws.h"
#include "libs/crypto/keys.h"
#include "libs/testing/status_matchers.h"

namespace oncomesh::crypto {
namespace {

using absl::StatusCode;

// The RSA key of RFC 7515 A.2.1: its modulus as there, and the whole key as PKCS #8.
constexpr char kA2Modulus[] =
    "ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4"
    "d4QlL-yRT-SFd2lZS-pCgNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5z5re"
    "xMdbBYUsLA9e-KXBdQOS-UTo7WTBEMa2R2CapHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxX"
    "FvUK-DWNmoudF8NAco9_h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRWyuXpoQ";
constexpr char kA2Key[] =
    "-----BEGIN PRIVATE KEY-----\n"
    "MIIEvQIBADANBgkqhkiG9w0BAQEFAASCBKcwggSjAgEAAoIBAQCh+BYK4uPJtGXO\n"
    "jS1lYmM2K5J9vinh8CR3/BYlzJChNuOL2TSXxbbqY913EeZ8dCn5VrD7io8ImtxL\n"
    "aYk8wTM/U+3QGbh3hCUv7JFP5IV3aVlL6kKA0ywPVb9ilE8TA5a8bpvfbr3SvaNn\n"
    "juygxmj3AbONv/s4yDQs4v5tJ/reSlpIdJed1LnPmt7Ex1sFhSwsD174pcF1A5L5\n"
    "ROjtZMEQxrZHYJqkeDrrnGya11UxMFBji4NmXG9veoKjlnAqH2QbgtPr8jkiGUkf\n"
    "toaHLFcW9Qr4NY2ai50Xw0Byj3+H2JoY2PyrZ62EWQwuz3WTOTY8BwNNb2BvniHg\n"
    "VFbK5emhAgMBAAECggEAEq5xpGnNCivDflJsRQBXHx1hdR1k6Ulwe2JZD50LpXyW\n"
    "PEAeP88vLNO97IjlA7/GQ5sLKMgvfTeXZx9SE+7YwVol2NXOoAJe46sui395IW/G\n"
    "O+pWJ1O0BkTGoVEn2bKVRUCgu+GjBVaYLU6f3l9kJfFNS3E0QbVdxzubSu3Mkqzj\n"
    "kn439X0M/V51gfpRLI9JYanrC4D4qAdGcopV/0ZHHzQlBjudU2QvXt4ehNYTCBr6\n"
    "XCLQUShb1juUO1ZdiYoFaFQT5Tw8bGUl/x/jTj3ccPDVZFD9pIuhLhBOneufuBiB\n"
    "4cS98l2SR/RQyGWSeWjnczT0QU91p1DhOVRuOopznQKBgQDgHMQQ60imZV1URk0K\n"
    "pLttoLhyt3SmqdEf/kgHePDdtzEafpAu+cS191R2JiuoF2yzWXnwFDcqGigp5BNr\n"
    "0AHQfD8/Lk8l1Mk09jxxCfui5nYooNyac8YFjm3vItzVCVDnEd3BbVWG8qf6deqE\n"
    "lMGAg+C2V0L4oNXnP7LZcPAZRwKBgQC5A8R+CZW2MvRTLLHzwZkUXV866cff7tx6\n"
    "kqa0finGG0KgeqlaZPxgCZnFp7AeAcCMtiynVlJ7vMVgePsLq6XtON4tB5kP9jAP\n"
    "rq3rbAOal78eUH5OcED6eNuCV8ixEu1eWcPNCS/l1OW1EnXUEoEHKl54Xrrz2uNw\n"
    "kgMTP1FZ1wKBgAcCn1dwJKufzBWQxWQp1vsM5fggqPN1qGb5y0MAk3g7/Ls5bkUp\n"
    "5u9SN0Ai3Ya6hNnvWJMb7sXQX6U/zyO2M/hTip7tUeh7CXgwo59dkpN75gJLVds2\n"
    "9+DAncu3KXU4f2Fa+7bLNrur53k8KwPOq2bbuTG69QtV7Jr5MR0AHWKNAoGBAIf/\n"
    "evpitUf+4JYbLpvNXWcY052Mpz22aR84mY3nh3F2LF2mjMJDpTg7FmuyPcVw6EcG\n"
    "yoAe9fa65iNqCq+jdw6PVNGo2hxfjSiZ8IIzHdsPXI89//pMjZcQK9r+CCoRjaZj\n"
    "OYiIDktVWZzmevJuv6WywUqd57LE3Zar3dLSIkx1AoGAIYd7DHOhrWvxkwPQsRM2\n"
    "tOgrjbcrfvtQJipd+DlcxyVuuM9sQLdgjVk2oy26F0EmpScGLq2MowX7fhd/QJQ3\n"
    "ydy5cY7YIBi87w93IKLEdfnbJtoOPLUW0ITrJReOgo1cq9SbsxYawBgfp/gh6A56\n"
    "03k2+ZQwVK0JKSHuLFkuQ3U=\n"
    "-----END PRIVATE KEY-----\n";
constexpr char kA2SigningInput[] =
    "eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLm"
    "NvbS9pc19yb290Ijp0cnVlfQ";
constexpr char kA2Signature[] =
    "cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5YKt_O8W2Fp5"
    "jujGbds9uJdbF9CUAr7t1dnZcAcQjbKBYNX4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb"
    "1L07Qe7K0GarZRmB_eSN9383LcOLn6_dO--xi12jzDwusC-eOkHWEsqtFZESc6BfI7noOPqvhJ1phCnvWh6IeYI2w9QO"
    "YEUipUTI8np6LbgGY9Fs98rqVt5AXLIhWkWywlVmtVrBp0igcN_IoypGlUPQGe77Rw";

TEST_CASE("RS256: RFC 7515 A.2 is signed and verified to the byte") {
  REQUIRE_VALUE(PrivateKey key, PrivateKey::FromPem(kA2Key));
  CHECK(key.type() == KeyType::kRsa);
  CHECK(Base64Url(key.Sign(kA2SigningInput)) == kA2Signature);
  CHECK(Base64Url(key.Public().Modulus()) == kA2Modulus);
  REQUIRE_VALUE(PublicKey from_numbers,
                PublicKey::FromRsa(*Base64UrlDecode(kA2Modulus), *Base64UrlDecode("AQAB")));
  REQUIRE_VALUE(Jws jws,
                VerifyJws(absl::StrCat(kA2SigningInput, ".", kA2Signature), {{"", from_numbers}}));
  CHECK(jws.payload["iss"] == "joe");
  std::string bent = kA2Signature;
  bent[10] = bent[10] == 'A' ? 'B' : 'A';
  REQUIRE_REASON(VerifyJws(absl::StrCat(kA2SigningInput, ".", bent), {{"", from_numbers}}),
                 StatusCode::kUnauthenticated, "JWS_SIGNATURE_INVALID");
}

TEST_CASE("EdDSA: RFC 8037 A.4 is signed and verified to the byte") {
  REQUIRE_VALUE(
      PrivateKey key,
      PrivateKey::FromEd25519Seed(*Base64UrlDecode("nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A")));
  CHECK(Base64Url(key.Public().Raw()) == "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo");
  const std::string input = "eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc";
  CHECK(Base64Url(key.Sign(input)) ==
        "hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg");
  CHECK(key.Public().Verify(input, key.Sign(input)));
}

TEST_CASE("JWK: the thumbprint of RFC 7638 §3.1") {
  constexpr char kModulus[] =
      "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJE"
      "CPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2Q"
      "vzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6"
      "WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw";
  REQUIRE_VALUE(PublicKey key,
                PublicKey::FromRsa(*Base64UrlDecode(kModulus), *Base64UrlDecode("AQAB")));
  CHECK(Thumbprint(key) == "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs");
}

TEST_CASE("keys: PEM, JWK and tokens agree for every type") {
  for (KeyType type : {KeyType::kEd25519, KeyType::kP256, KeyType::kRsa}) {
    const PrivateKey key = PrivateKey::Generate(type);
    REQUIRE_VALUE(PrivateKey again, PrivateKey::FromPem(key.ToPem()));
    REQUIRE_VALUE(PublicKey from_pem, PublicKey::FromPem(key.Public().ToPem()));
    REQUIRE_VALUE(KeySet keys, ParseJwks(PrintJwks({{"k", key.Public()}})));
    REQUIRE(keys.size() == 1);
    const std::string token = SignJws(again, "k", "JWT", R"({"sub":"a"})");
    REQUIRE_VALUE(Jws jws, VerifyJws(token, keys));
    CHECK(jws.typ == "JWT");
    REQUIRE_OK(VerifyJws(token, {{"k", from_pem}}));
    CHECK(Thumbprint(from_pem) == Thumbprint(key.Public()));
    CHECK_FALSE(from_pem.Verify("other", key.Sign("message")));
    CHECK_FALSE(from_pem.Verify("message", ""));
    CHECK_FALSE(from_pem.Verify("message", key.Sign("message") + "x"));
  }
}

TEST_CASE("ES256: signatures of a wrong shape are refused") {
  const PrivateKey key = PrivateKey::Generate(KeyType::kP256);
  const std::string good = key.Sign("m");
  REQUIRE(good.size() == 64);
  CHECK(key.Public().Verify("m", good));
  const std::string zero(32, '\0'), top(32, '\xff');
  for (const std::string& bad :
       {zero + zero, zero + good.substr(32), good.substr(0, 32) + zero, top + good.substr(32),
        good.substr(0, 32) + top, good.substr(0, 63), std::string(1, '\0') + good}) {
    CHECK_FALSE(key.Public().Verify("m", bad));
  }
}

TEST_CASE("RSA: weak keys are refused in every form") {
  const std::string n(256, '\xff'), e = "\x01\x01";  // 2048 bits
  const std::string one = "\x01", even = "\x02", long_e(5, '\x01');
  CHECK_FALSE(PublicKey::FromRsa(n, one).ok());
  CHECK_FALSE(PublicKey::FromRsa(n, even).ok());
  CHECK_FALSE(PublicKey::FromRsa(n, long_e).ok());
  CHECK_FALSE(PublicKey::FromRsa(n, "").ok());
  CHECK_FALSE(PublicKey::FromRsa(std::string(255, '\xff'), e).ok());
  CHECK_FALSE(PublicKey::FromRsa(std::string(255, '\xff') + "\xfe", e).ok());  // even
  CHECK_FALSE(PublicKey::FromRsa(std::string(1025, '\xff'), e).ok());
  // The number of bytes can be padded; the number of bits cannot.
  CHECK_FALSE(PublicKey::FromRsa(std::string(10, '\0') + std::string(250, '\xff'), e).ok());
}

TEST_CASE("PEM: text that claims to be encrypted is refused without asking anybody") {
  const std::string encrypted =
      "-----BEGIN @-----\nProc-Type: 4,ENCRYPTED\n"
      "DEK-Info: AES-128-CBC,00112233445566778899AABBCCDDEEFF\n\nAAAAAAAAAAAAAAAAAAAAAA==\n"
      "-----END @-----\n";
  auto of = [&](const std::string& kind) {
    std::string out = encrypted;
    for (size_t at; (at = out.find('@')) != std::string::npos;) out.replace(at, 1, kind);
    return out;
  };
  REQUIRE_REASON(PrivateKey::FromPem(of("RSA PRIVATE KEY")), StatusCode::kInvalidArgument,
                 "KEY_INVALID");
  REQUIRE_REASON(PublicKey::FromPem(of("PUBLIC KEY")), StatusCode::kInvalidArgument, "KEY_INVALID");
  REQUIRE_REASON(PrivateKey::FromPem(std::string(20'000, 'x')), StatusCode::kInvalidArgument,
                 "KEY_INVALID");
}

TEST_CASE("JSON: a byte order mark, a doubled name and deep nesting are refused") {
  REQUIRE_OK(ParseStrictJson("{\"a\":{\"b\":1},\"c\":{\"b\":2}}"));
  const std::string fifteen = std::string(15, '[') + std::string(15, ']');
  REQUIRE_OK(ParseStrictJson(absl::StrCat("{\"a\":", fifteen, "}")));
  for (const std::string& bad :
       {std::string("\xef\xbb\xbf{}"), std::string("{\"a\":1,\"\\u0061\":2}"),
        absl::StrCat("{\"a\":[", fifteen, "]}"), std::string("{\"a\":1e999}"),
        std::string("{\"a\":\"\\ud800\"}"), std::string("{}/**/"), std::string("")}) {
    INFO(bad);
    REQUIRE_REASON(ParseStrictJson(bad), StatusCode::kInvalidArgument, "JSON_INVALID");
  }
}

TEST_CASE("JWKS: a key without a name answers no token") {
  const PrivateKey key = PrivateKey::Generate(KeyType::kEd25519);
  REQUIRE_VALUE(KeySet keys, ParseJwks(PrintJwks({{"", key.Public()}})));
  CHECK(keys.empty());
}

}  // namespace
}  // namespace oncomesh::crypto
