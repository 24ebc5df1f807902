// SPDX-License-Identifier: Apache-2.0
// The keys of issuers, fetched from a real HTTPS server that can be told to misbehave.
#include "services/access/issuer_keys.h"

#include <prometheus/registry.h>
#include <prometheus/text_serializer.h>

#include <atomic>
#include <boost/asio.hpp>
#include <boost/asio/ssl.hpp>
#include <catch2/catch.hpp>
#include <cstdlib>
#include <future>
#include <map>
#include <thread>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "libs/base/error.h"
#include "libs/base/files.h"
#include "libs/base/log.h"
#include "libs/crypto/jws.h"
#include "libs/crypto/x509.h"
#include "libs/rpc/metrics.h"
#include "libs/testing/status_matchers.h"
#include "libs/testing/temporary_folder.h"
#include "services/access/people.h"

namespace oncomesh::access {
namespace {

namespace asio = boost::asio;
using absl::StatusCode;
using crypto::PrivateKey;

// Serves pages over TLS on a loopback port, one connection after the other.
class IdentityProvider {
 public:
  explicit IdentityProvider(const std::string& folder, const std::string& address = "127.0.0.1") {
    const absl::Time now = absl::Now();
    PrivateKey ca = PrivateKey::Generate(crypto::KeyType::kP256);
    PrivateKey key = PrivateKey::Generate(crypto::KeyType::kP256);
    const std::string authority =
        crypto::CreateAuthority(ca, "test", now - absl::Hours(1), now + absl::Hours(1));
    auto certificate = crypto::IssueCertificate(authority, ca, crypto::CreateSigningRequest(key),
                                                {.uri = "spiffe://test/idp",
                                                 .dns = {},
                                                 .ips = {address},
                                                 .not_before = now - absl::Hours(1),
                                                 .not_after = now + absl::Hours(1)});
    REQUIRE_OK(certificate);
    ca_file = folder + "/ca.crt";
    REQUIRE_OK(base::WriteFileAtomically(ca_file, authority));
    const std::string pem = key.ToPem();
    context_.use_certificate_chain(asio::buffer(*certificate));
    context_.use_private_key(asio::buffer(pem), asio::ssl::context::pem);
    thread_ = std::thread([this] { Serve(); });
  }
  ~IdentityProvider() {
    stopping_ = true;
    asio::io_context io;
    asio::ip::tcp::socket wake(io);
    boost::system::error_code ignored;
    wake.connect(acceptor_.local_endpoint(), ignored);
    thread_.join();
  }
  std::string Url(const std::string& path) const {
    return absl::StrCat("https://127.0.0.1:", acceptor_.local_endpoint().port(), path);
  }
  void Page(const std::string& path, const std::string& body) {
    Answer(path, absl::StrCat("HTTP/1.1 200 OK\r\nContent-Length: ", body.size(),
                              "\r\nConnection: close\r\n\r\n", body));
  }
  void Answer(const std::string& path, const std::string& whole) {
    base::MutexLock lock(mutex_);
    pages_[path] = whole;
  }
  int hits() const { return hits_; }

  std::string ca_file;

 private:
  void Serve() {
    while (true) {
      asio::ssl::stream<asio::ip::tcp::socket> stream(io_, context_);
      boost::system::error_code error;
      acceptor_.accept(stream.next_layer(), error);
      if (stopping_) return;
      stream.handshake(asio::ssl::stream_base::server, error);
      if (error) continue;
      std::string request;
      asio::read_until(stream, asio::dynamic_buffer(request, 8192), "\r\n\r\n", error);
      if (error) continue;
      const std::string path = request.substr(4, request.find(' ', 4) - 4);
      ++hits_;
      std::string answer = "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n";
      {
        base::MutexLock lock(mutex_);
        auto page = pages_.find(path);
        if (page != pages_.end()) answer = page->second;
      }
      asio::write(stream, asio::buffer(answer), error);
      // An answer that lacks its end: the connection stays open until the client gives up.
      if (absl::StrContains(answer, "X-Unfinished")) {
        char byte;
        stream.read_some(asio::buffer(&byte, 1), error);
      }
      stream.shutdown(error);
    }
  }

  asio::io_context io_;
  asio::ssl::context context_{asio::ssl::context::tls_server};
  asio::ip::tcp::acceptor acceptor_{io_, {asio::ip::make_address("127.0.0.1"), 0}};
  base::Mutex mutex_;
  std::map<std::string, std::string> pages_ ABSL_GUARDED_BY(mutex_);
  std::atomic<int> hits_{0};
  std::atomic<bool> stopping_{false};
  std::thread thread_;
};

constexpr char kIssuer[] = "https://idp.example.org/realms/mesh";

std::string Jwks(const std::map<std::string, const PrivateKey*>& keys) {
  crypto::KeySet set;
  for (const auto& [kid, key] : keys) set.emplace(kid, key->Public());
  return crypto::PrintJwks(set);
}

std::string MetricsText() {
  return prometheus::TextSerializer().Serialize(rpc::Metrics().Collect());
}

struct Fixture {
  Fixture() {
    issuer = configured.Add();
    issuer->set_issuer(kIssuer);
    issuer->add_audiences("oncomesh");
    issuer->set_discovery_url(idp.Url("/realms/mesh/"));
    issuer->set_ca_file(idp.ca_file);
    Discovery(kIssuer);
    idp.Page("/keys", Jwks({{"one", &one}}));
  }
  void Discovery(const std::string& name) {
    idp.Page("/realms/mesh/.well-known/openid-configuration",
             nlohmann::json{{"issuer", name}, {"jwks_uri", idp.Url("/keys")}}.dump());
  }
  std::unique_ptr<IssuerKeys> Open(bool production = true) {
    auto opened = IssuerKeys::Open(configured, folder.path(), production,
                                   {.clock = clock, .timeout = absl::Seconds(2)});
    REQUIRE_OK(opened);
    return *std::move(opened);
  }
  std::string Token(const PrivateKey& key, const std::string& kid) {
    const int64_t now = absl::ToUnixSeconds(clock.Now());
    nlohmann::json claims = {
        {"iss", kIssuer}, {"aud", "oncomesh"}, {"sub", "ana"}, {"iat", now}, {"exp", now + 3600}};
    return crypto::SignJws(key, kid, "JWT", claims.dump());
  }

  testing::TemporaryFolder folder;
  base::FakeClock clock;
  IdentityProvider idp{folder.path()};
  PrivateKey one = PrivateKey::Generate(crypto::KeyType::kP256);
  PrivateKey two = PrivateKey::Generate(crypto::KeyType::kRsa);
  google::protobuf::RepeatedPtrField<config::v1::Issuer> configured;
  config::v1::Issuer* issuer;
};

TEST_CASE("issuer keys: found by discovery, followed when the issuer changes them") {
  Fixture f;
  auto keys = f.Open();
  std::unique_ptr<People> people;
  int changes = 0;
  people = std::make_unique<People>(
      google::protobuf::RepeatedPtrField<config::v1::Person>(), [&] { return keys->Issuers(); },
      f.clock,
      [&](const std::string& issuer) {
        if (!keys->Refresh(issuer)) return false;
        people->Forget();
        ++changes;
        return true;
      });
  // Nobody has asked yet: the first token does.
  const std::string old_token = f.Token(f.one, "one");
  REQUIRE_OK(people->Authenticate(old_token));
  CHECK(changes == 1);

  // Both keys are published for a while; a token with the new one makes the set be fetched at once.
  f.idp.Page("/keys", Jwks({{"one", &f.one}, {"two", &f.two}}));
  f.clock.Advance(IssuerKeys::kSoonestRefresh);
  REQUIRE_OK(people->Authenticate(f.Token(f.two, "two")));
  REQUIRE_OK(people->Authenticate(old_token));

  // Then the old one is gone, which the interval finds.
  f.idp.Page("/keys", Jwks({{"two", &f.two}}));
  f.clock.Advance(absl::Minutes(14));
  keys->FetchDue();
  REQUIRE_OK(people->Authenticate(old_token));
  f.clock.Advance(absl::Minutes(1));
  keys->FetchDue();
  people->Forget();
  REQUIRE_REASON(people->Authenticate(old_token), StatusCode::kUnauthenticated,
                 "TOKEN_KEY_UNKNOWN");
  REQUIRE_OK(people->Authenticate(f.Token(f.two, "two")));
}

TEST_CASE("issuer keys: made-up kids do not make the issuer be asked again and again") {
  Fixture f;
  auto keys = f.Open();
  People people(
      {}, [&] { return keys->Issuers(); }, f.clock,
      [&](const std::string& issuer) { return keys->Refresh(issuer); });
  REQUIRE_OK(people.Authenticate(f.Token(f.one, "one")));
  const int before = f.idp.hits();
  for (int i = 0; i < 20; ++i) {
    REQUIRE_REASON(people.Authenticate(f.Token(f.two, absl::StrCat("made-up-", i))),
                   StatusCode::kUnauthenticated, "TOKEN_KEY_UNKNOWN");
  }
  CHECK(f.idp.hits() == before);
  f.clock.Advance(IssuerKeys::kSoonestRefresh);
  for (int i = 0; i < 20; ++i) {
    REQUIRE_REASON(people.Authenticate(f.Token(f.two, absl::StrCat("made-up-", i))),
                   StatusCode::kUnauthenticated, "TOKEN_KEY_UNKNOWN");
  }
  CHECK(f.idp.hits() == before + 2);  // the discovery document and the keys, once
}

TEST_CASE("issuer keys: whatever goes wrong, the last good set stays and the outage shows") {
  Fixture f;
  std::vector<std::string> lines;
  base::SetLogSink([&](const std::string& line) { lines.push_back(line); });
  auto keys = f.Open();
  keys->FetchDue();
  const std::string good = keys->Issuers().at(0).jwks();
  REQUIRE_FALSE(good.empty());
  auto fails = [&](const std::string& reason) {
    INFO(reason);
    lines.clear();
    f.clock.Advance(absl::Hours(1));
    keys->FetchDue();
    CHECK(keys->Issuers().at(0).jwks() == good);
    REQUIRE(lines.size() == 1);
    CHECK(absl::StrContains(lines[0], "issuer.keys_failed"));
    CHECK(absl::StrContains(lines[0], reason));
    CHECK(absl::StrContains(MetricsText(),
                            absl::StrCat("oncomesh_issuer_keys_fetches_total{issuer=\"", kIssuer,
                                         "\",result=\"", reason, "\"}")));
    // Tried again soon, said once.
    f.clock.Advance(IssuerKeys::kSoonestRefresh);
    keys->FetchDue();
    CHECK(lines.size() == 1);
    // Well again.
    f.Discovery(kIssuer);
    f.idp.Page("/keys", Jwks({{"one", &f.one}}));
    f.clock.Advance(IssuerKeys::kSoonestRefresh);
    keys->FetchDue();
    CHECK(absl::StrContains(lines.back(), "issuer.keys_recovered"));
  };
  f.Discovery("https://idp.example.org/realms/other");
  fails("ISSUER_MISMATCH");
  f.Discovery(std::string(kIssuer) + "/");
  fails("ISSUER_MISMATCH");
  f.idp.Page("/realms/mesh/.well-known/openid-configuration", "<html>");
  fails("ISSUER_DISCOVERY_INVALID");
  f.idp.Page("/realms/mesh/.well-known/openid-configuration",
             nlohmann::json{{"issuer", kIssuer}}.dump());
  fails("ISSUER_DISCOVERY_INVALID");
  // The document cannot lead to where the configuration could not.
  f.idp.Page("/realms/mesh/.well-known/openid-configuration",
             nlohmann::json{{"issuer", kIssuer}, {"jwks_uri", "http://127.0.0.1:9/keys"}}.dump());
  fails("URL_INVALID");
  f.idp.Page("/realms/mesh/.well-known/openid-configuration",
             nlohmann::json{{"issuer", kIssuer}, {"jwks_uri", "file:///etc/passwd"}}.dump());
  fails("URL_INVALID");
  f.idp.Page("/keys", "{\"keys\":[]}");
  fails("ISSUER_KEYS_NONE");
  f.idp.Page("/keys", "{\"keys\":7}");
  fails("ISSUER_KEYS_INVALID");
  f.idp.Answer("/keys", "HTTP/1.1 500 Oops\r\nContent-Length: 0\r\n\r\n");
  fails("HTTPS_FAILED");
  f.idp.Answer("/keys", absl::StrCat("HTTP/1.1 302 Found\r\nLocation: ", f.idp.Url("/other"),
                                     "\r\nContent-Length: 0\r\n\r\n"));
  fails("HTTPS_FAILED");
  f.idp.Page("/keys", std::string(300'000, ' '));
  fails("HTTPS_TOO_LARGE");
  f.idp.Answer("/keys", "HTTP/1.1 200 OK\r\nX-Unfinished: 1\r\nContent-Length: 100\r\n\r\n{");
  fails("HTTPS_TIMEOUT");
  base::SetLogSink(nullptr);

  // A restart while the issuer is away: the set is still there.
  f.idp.Page("/keys", "");
  auto again = f.Open();
  CHECK(again->Issuers().at(0).jwks() == good);
}

TEST_CASE("issuer keys: a server whose certificate is not vouched for is not believed") {
  Fixture f;
  f.issuer->clear_discovery_url();
  f.issuer->set_jwks_uri(f.idp.Url("/keys"));
  auto reason = [&] {
    auto keys = f.Open();
    std::string line;
    base::SetLogSink([&](const std::string& text) { line = text; });
    keys->FetchDue();
    base::SetLogSink(nullptr);
    CHECK(keys->Issuers().at(0).jwks().empty());
    People people({}, [&] { return keys->Issuers(); }, f.clock);
    REQUIRE_REASON(people.Authenticate(f.Token(f.one, "one")), StatusCode::kUnavailable,
                   "ISSUER_KEYS_NOT_YET");
    return line;
  };
  SECTION("by another authority") {
    testing::TemporaryFolder other;
    IdentityProvider stranger(other.path());
    f.issuer->set_ca_file(stranger.ca_file);
    CHECK(absl::StrContains(reason(), "HTTPS_FAILED"));
  }
  SECTION("not by the system's authorities") {
    f.issuer->clear_ca_file();
    CHECK(absl::StrContains(reason(), "HTTPS_FAILED"));
  }
  SECTION("for another host") {
    testing::TemporaryFolder other;
    IdentityProvider elsewhere(other.path(), "192.0.2.1");
    elsewhere.Page("/keys", Jwks({{"one", &f.one}}));
    f.issuer->set_ca_file(elsewhere.ca_file);
    f.issuer->set_jwks_uri(elsewhere.Url("/keys"));
    CHECK(absl::StrContains(reason(), "HTTPS_FAILED"));
  }
}

TEST_CASE("issuer keys: the thread fetches by itself and ends when told") {
  Fixture f;
  auto opened =
      IssuerKeys::Open(f.configured, f.folder.path(), true, {.clock = base::SystemClock::Get()});
  REQUIRE_OK(opened);
  std::promise<void> changed;
  (*opened)->Start([&] { changed.set_value(); });
  REQUIRE(changed.get_future().wait_for(std::chrono::seconds(20)) == std::future_status::ready);
  CHECK_FALSE((*opened)->Issuers().at(0).jwks().empty());
  (*opened)->Stop();
}

// Driven by test/conformance/keycloak.sh.
TEST_CASE(
    "issuer keys: a real identity provider's tokens are accepted, before and after new keys") {
  const char* issuer = std::getenv("ONCOMESH_TEST_ISSUER");
  if (issuer == nullptr) return;
  const std::string tokens = std::getenv("ONCOMESH_TEST_ISSUER_TOKENS");
  auto token = [&](const std::string& name) {
    REQUIRE_VALUE(std::string text, base::ReadFile(tokens + "/" + name));
    return text.substr(0, text.find('\n'));
  };
  google::protobuf::RepeatedPtrField<config::v1::Issuer> configured;
  configured.Add()->set_issuer(issuer);
  configured.Mutable(0)->add_audiences("oncomesh");
  configured.Mutable(0)->set_discovery_url(issuer);
  configured.Mutable(0)->set_ca_file(std::getenv("ONCOMESH_TEST_ISSUER_CA"));
  testing::TemporaryFolder folder;
  base::FakeClock clock(absl::Now());
  auto opened = IssuerKeys::Open(configured, folder.path(), true, {.clock = clock});
  REQUIRE_OK(opened);
  IssuerKeys& keys = **opened;
  People people(
      {}, [&] { return keys.Issuers(); }, clock,
      [&](const std::string& name) { return keys.Refresh(name); });
  REQUIRE_VALUE(rpc::Person first, people.Authenticate(token("first")));
  REQUIRE_VALUE(crypto::Jws peeked, crypto::PeekJws(token("first")));
  CHECK(first.subject == peeked.payload["sub"]);
  REQUIRE(std::system(std::getenv("ONCOMESH_TEST_ISSUER_ROTATE")) == 0);
  clock.Advance(IssuerKeys::kSoonestRefresh);
  REQUIRE_VALUE(rpc::Person second, people.Authenticate(token("second")));
  CHECK(second.subject == first.subject);
  REQUIRE_VALUE(crypto::Jws other, crypto::PeekJws(token("second")));
  CHECK(other.kid != peeked.kid);
}

TEST_CASE("issuer keys: a key that is taken out of a file is no good any more") {
  testing::TemporaryFolder folder;
  base::FakeClock clock;
  PrivateKey one = PrivateKey::Generate(crypto::KeyType::kP256);
  PrivateKey two = PrivateKey::Generate(crypto::KeyType::kP256);
  REQUIRE_OK(base::WriteFileAtomically(folder / "jwks.json", Jwks({{"one", &one}})));
  google::protobuf::RepeatedPtrField<config::v1::Issuer> configured;
  configured.Add()->set_issuer(kIssuer);
  configured.Mutable(0)->add_audiences("oncomesh");
  configured.Mutable(0)->set_jwks_file(folder / "jwks.json");
  auto opened = IssuerKeys::Open(configured, folder.path(), true, {.clock = clock});
  REQUIRE_OK(opened);
  IssuerKeys& keys = **opened;
  People people({}, [&] { return keys.Issuers(); }, clock);
  std::promise<void> changed;
  keys.Start([&] {
    people.Forget();
    changed.set_value();
  });
  const int64_t now = absl::ToUnixSeconds(clock.Now());
  nlohmann::json claims = {
      {"iss", kIssuer}, {"aud", "oncomesh"}, {"sub", "ana"}, {"iat", now}, {"exp", now + 3600}};
  const std::string token = crypto::SignJws(one, "one", "JWT", claims.dump());
  REQUIRE_OK(people.Authenticate(token));
  CHECK(keys.FetchDue() <= IssuerKeys::kFileLook);
  REQUIRE_OK(base::WriteFileAtomically(folder / "jwks.json", Jwks({{"two", &two}})));
  keys.FetchDue();
  changed.get_future().wait();
  REQUIRE_REASON(people.Authenticate(token), StatusCode::kUnauthenticated, "TOKEN_KEY_UNKNOWN");
  keys.Stop();
}

TEST_CASE("issuer keys: a configuration that names no source, or an unsafe one, does not start") {
  testing::TemporaryFolder folder;
  base::FakeClock clock;
  auto open = [&](const std::function<void(config::v1::Issuer&)>& change, bool production) {
    google::protobuf::RepeatedPtrField<config::v1::Issuer> issuers;
    issuers.Add()->set_issuer(kIssuer);
    change(*issuers.Mutable(0));
    return IssuerKeys::Open(issuers, folder.path(), production, {.clock = clock}).status();
  };
  auto refused = [&](const std::function<void(config::v1::Issuer&)>& change, bool production) {
    REQUIRE_REASON(open(change, production), StatusCode::kInvalidArgument, "CONFIG_INVALID");
  };
  refused([](auto&) {}, false);
  refused([](auto& i) { i.set_jwks_file("a"), i.set_jwks_uri("https://idp/keys"); }, false);
  refused([](auto& i) { i.set_jwks_uri("https://idp/keys"), i.clear_issuer(); }, false);
  refused([](auto& i) { i.set_jwks_uri("ftp://idp/keys"); }, false);
  refused([](auto& i) { i.set_jwks_uri("https://user:word@idp/keys"); }, false);
  refused([](auto& i) { i.set_jwks_uri("not an address"); }, false);
  refused([](auto& i) { i.set_jwks_uri("http://idp.example.org/keys"); }, false);
  refused([](auto& i) { i.set_jwks_uri("http://127.evil.example.org/keys"); }, false);
  refused([](auto& i) { i.set_jwks_uri("http://127.0.0.1@evil.example.org/keys"); }, false);
  refused([](auto& i) { i.set_discovery_url("http://localhost:8080/realms/x"); }, true);
  REQUIRE_OK(open([](auto& i) { i.set_discovery_url("http://localhost:8080/realms/x"); }, false));
  REQUIRE_OK(open([](auto& i) { i.set_jwks_uri("http://[::1]:8080/keys"); }, false));
  REQUIRE_OK(open([](auto& i) { i.set_jwks_uri("https://idp.example.org/keys"); }, true));
}

}  // namespace
}  // namespace oncomesh::access
