// SPDX-License-Identifier: Apache-2.0
// What the `openssl` program says of our certificates, and what ours says of bent ones.
#include "libs/crypto/x509.h"

#include <openssl/err.h>

#include <catch2/catch.hpp>
#include <cstdlib>
#include <string>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "libs/base/files.h"
#include "libs/testing/status_matchers.h"
#include "libs/testing/temporary_folder.h"
#include "libs/testing/test_data.h"

namespace oncomesh::crypto {
namespace {

using absl::StatusCode;

struct Mesh {
  PrivateKey authority_key = PrivateKey::Generate(KeyType::kP256);
  PrivateKey key = PrivateKey::Generate(KeyType::kP256);
  absl::Time now = absl::Now();
  std::string authority =
      CreateAuthority(authority_key, "mesh", now - absl::Hours(1), now + absl::Hours(48));
  CertificateRequest wanted{.uri = "spiffe://mesh/node/a/relay",
                            .dns = {"localhost"},
                            .ips = {"127.0.0.1", "::1"},
                            .not_before = now - absl::Minutes(5),
                            .not_after = now + absl::Hours(24)};
  absl::StatusOr<std::string> Issue() const {
    return IssueCertificate(authority, authority_key, CreateSigningRequest(key), wanted);
  }
};

TEST_CASE("X.509: the openssl program verifies our chain and reads the same names") {
  const Mesh mesh;
  REQUIRE_VALUE(std::string pem, mesh.Issue());
  testing::TemporaryFolder folder;
  REQUIRE_OK(base::WriteFileAtomically(folder / "ca.pem", mesh.authority));
  REQUIRE_OK(base::WriteFileAtomically(folder / "leaf.pem", pem));
  REQUIRE_OK(base::WriteFileAtomically(folder / "csr.pem", CreateSigningRequest(mesh.key)));
  auto run = [&](const std::string& command) {
    const std::string line =
        absl::StrCat("cd ", folder.path(), " && openssl ", command, " > out.txt 2>&1");
    const int status = std::system(line.c_str());
    return absl::StrCat(status, "\n", *base::ReadFile(folder / "out.txt"));
  };
  if (!absl::StartsWith(run("version"), "0\n")) {
    WARN("no openssl program; skipped");
    return;
  }
  for (const char* purpose : {"sslserver", "sslclient"}) {
    CHECK(absl::StartsWith(
        run(absl::StrCat("verify -x509_strict -purpose ", purpose, " -CAfile ca.pem leaf.pem")),
        "0\n"));
  }
  const std::string text = run("x509 -in leaf.pem -noout -text");
  for (const char* expected :
       {"URI:spiffe://mesh/node/a/relay, DNS:localhost, IP Address:127.0.0.1", "CA:FALSE",
        "TLS Web Server Authentication, TLS Web Client Authentication",
        "X509v3 Subject Alternative Name: critical", "Digital Signature"}) {
    INFO(text);
    CHECK(absl::StrContains(text, expected));
  }
  CHECK(absl::StrContains(run("x509 -in ca.pem -noout -text"), "CA:TRUE, pathlen:0"));
  CHECK(absl::StartsWith(run("req -in csr.pem -noout -verify"), "0\n"));
  REQUIRE_VALUE(CertificateInfo info, ParseCertificate(pem));
  std::string fingerprint = run("x509 -in leaf.pem -noout -fingerprint -sha256");
  fingerprint =
      absl::StrReplaceAll(fingerprint.substr(fingerprint.find('=') + 1), {{":", ""}, {"\n", ""}});
  for (char& c : fingerprint) c = static_cast<char>(std::tolower(c));
  CHECK(info.sha256 == fingerprint);
}

TEST_CASE("X.509: a flipped bit, another time or another authority is not trusted") {
  Mesh mesh;
  REQUIRE_VALUE(std::string pem, mesh.Issue());
  REQUIRE_OK(VerifyChain(pem, mesh.authority, mesh.now));
  CHECK_FALSE(VerifyChain(pem, mesh.authority, mesh.now - absl::Hours(2)).ok());
  CHECK_FALSE(VerifyChain(pem, mesh.authority, mesh.now + absl::Hours(25)).ok());
  CHECK_FALSE(VerifyChain(pem, Mesh().authority, mesh.now).ok());
  CHECK_FALSE(VerifyChain("", mesh.authority, mesh.now).ok());
  CHECK_FALSE(VerifyChain(std::string(20'000, 'x'), mesh.authority, mesh.now).ok());
  for (size_t at = 40; at + 60 < pem.size(); at += 11) {
    std::string bent = pem;
    bent[at] = bent[at] == 'A' ? 'B' : 'A';
    if (bent[at] == pem[at] || pem[at] == '\n') continue;
    CHECK_FALSE(VerifyChain(bent, mesh.authority, mesh.now).ok());
  }
}

TEST_CASE("X.509: names that would smuggle another one in are refused") {
  Mesh mesh;
  for (const std::string& bad :
       {std::string(), std::string("spiffe://mesh/a b"), std::string("spiffe://mesh/a\0b", 17),
        std::string("a\nb"), std::string(256, 'a'), std::string("\xc3\xa9")}) {
    mesh.wanted.uri = bad;
    REQUIRE_REASON(mesh.Issue(), StatusCode::kInvalidArgument, "CSR_INVALID");
  }
  // A comma separates names in OpenSSL's own syntax, and nowhere else.
  mesh.wanted.uri = "spiffe://mesh/a,URI:spiffe://mesh/hub/access";
  REQUIRE_VALUE(std::string pem, mesh.Issue());
  REQUIRE_VALUE(CertificateInfo info, ParseCertificate(pem));
  CHECK(info.uris == std::vector<std::string>{mesh.wanted.uri});
  mesh.wanted.uri = "spiffe://mesh/a";
  mesh.wanted.ips = {"127.0.0.1.2"};
  REQUIRE_REASON(mesh.Issue(), StatusCode::kInvalidArgument, "CSR_INVALID");
}

TEST_CASE("X.509: only P-256 keys get certificates, and the request must be signed by its key") {
  Mesh mesh;
  for (KeyType type : {KeyType::kEd25519, KeyType::kRsa}) {
    mesh.key = PrivateKey::Generate(type);
    REQUIRE_REASON(mesh.Issue(), StatusCode::kInvalidArgument, "CSR_INVALID");
  }
  const PrivateKey key = PrivateKey::Generate(KeyType::kP256);
  std::string csr = CreateSigningRequest(key);
  int refused = 0, changed = 0;
  for (size_t at = 45; at + 60 < csr.size(); at += 7) {
    std::string bent = csr;
    bent[at] = bent[at] == 'A' ? 'B' : 'A';
    if (csr[at] == '\n') continue;
    ++changed;
    refused += IssueCertificate(mesh.authority, mesh.authority_key, bent, mesh.wanted).ok() ? 0 : 1;
  }
  CHECK(refused == changed);
  const std::string encrypted =
      "-----BEGIN CERTIFICATE REQUEST-----\nProc-Type: 4,ENCRYPTED\n"
      "DEK-Info: AES-128-CBC,00112233445566778899AABBCCDDEEFF\n\nAAAAAAAAAAAAAAAAAAAAAA==\n"
      "-----END CERTIFICATE REQUEST-----\n";
  REQUIRE_REASON(IssueCertificate(mesh.authority, mesh.authority_key, encrypted, mesh.wanted),
                 StatusCode::kInvalidArgument, "CSR_INVALID");
}

TEST_CASE("X.509: what fails leaves no error behind for TLS on the same thread") {
  ERR_clear_error();
  const Mesh mesh;
  CHECK_FALSE(
      ParseCertificate("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n").ok());
  // One whose extensions cannot be read, found by test/fuzz/pem_fuzz.cc.
  REQUIRE_VALUE(std::string bad,
                base::ReadFile(testing::SourcePath("test/fuzz/corpus/pem/bad_extension")));
  REQUIRE_REASON(ParseCertificate(bad), StatusCode::kInvalidArgument, "CERTIFICATE_INVALID");
  CHECK(ERR_peek_error() == 0);
  CHECK_FALSE(VerifyChain("x", "y", mesh.now).ok());
  CHECK_FALSE(PrivateKey::FromPem("x").ok());
  CHECK_FALSE(PublicKey::FromPem("x").ok());
  CHECK_FALSE(PublicKey::FromP256(std::string(32, '\1'), std::string(32, '\2')).ok());
  CHECK_FALSE(mesh.key.Public().Verify("m", std::string(64, '\1')));
  CHECK_FALSE(IssueCertificate(mesh.authority, mesh.authority_key, "x", mesh.wanted).ok());
  CHECK_FALSE(Matches(mesh.authority, mesh.key));
  CHECK(ERR_peek_error() == 0);
}

}  // namespace
}  // namespace oncomesh::crypto
