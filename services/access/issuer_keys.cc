// SPDX-License-Identifier: Apache-2.0
#include "services/access/issuer_keys.h"

#include <prometheus/counter.h>
#include <prometheus/gauge.h>
#include <prometheus/registry.h>

#include <algorithm>
#include <chrono>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "libs/base/error.h"
#include "libs/base/files.h"
#include "libs/base/log.h"
#include "libs/base/status_macros.h"
#include "libs/crypto/digest.h"
#include "libs/crypto/jws.h"
#include "libs/rpc/metrics.h"

namespace oncomesh::access {
namespace {

using nlohmann::json;

// For another thread's fetch: an issuer that does not answer must not hold every caller.
constexpr std::chrono::seconds kLongestWait(3);
constexpr char kWellKnown[] = "/.well-known/openid-configuration";

absl::Status ConfigInvalid(const config::v1::Issuer& issuer, absl::string_view what) {
  return base::Error(absl::StatusCode::kInvalidArgument, "CONFIG_INVALID",
                     absl::StrCat("issuer ", issuer.issuer(), ": ", what));
}

absl::Status KeysRefused(absl::string_view reason, absl::string_view what) {
  return base::Error(absl::StatusCode::kFailedPrecondition, reason, what);
}

bool IsRemote(const config::v1::Issuer& issuer) { return issuer.jwks_file().empty(); }

absl::Duration Interval(const config::v1::Issuer& issuer) {
  const int minutes = issuer.refresh_minutes();
  return absl::Minutes(minutes == 0 ? 15 : std::clamp(minutes, 1, 24 * 60));
}

void Count(const std::string& issuer, absl::string_view result) {
  static auto& family = prometheus::BuildCounter()
                            .Name("oncomesh_issuer_keys_fetches_total")
                            .Help("Fetches of the keys of issuers of people's tokens, by result.")
                            .Register(rpc::Metrics());
  family.Add({{"issuer", issuer}, {"result", std::string(result)}}).Increment();
}

void ShowAge(const std::string& issuer, absl::Time now) {
  static auto& family =
      prometheus::BuildGauge()
          .Name("oncomesh_issuer_keys_fetch_time_seconds")
          .Help("When the keys of an issuer were last fetched with success, Unix time.")
          .Register(rpc::Metrics());
  family.Add({{"issuer", issuer}}).Set(absl::ToDoubleSeconds(now - absl::UnixEpoch()));
}

// The keys in one form, so that another order of members or certificates beside them is no change.
// Errors: FAILED_PRECONDITION (ISSUER_KEYS_INVALID, ISSUER_KEYS_NONE).
absl::StatusOr<std::string> UsableKeys(absl::string_view jwks) {
  absl::StatusOr<crypto::KeySet> keys = crypto::ParseJwks(jwks);
  if (!keys.ok()) return KeysRefused("ISSUER_KEYS_INVALID", keys.status().message());
  if (keys->empty()) {
    return KeysRefused(
        "ISSUER_KEYS_NONE",
        "the key set holds no key that can be used (RS256, ES256 or EdDSA, with kid)");
  }
  return crypto::PrintJwks(*keys);
}

}  // namespace

absl::StatusOr<std::unique_ptr<IssuerKeys>> IssuerKeys::Open(
    const google::protobuf::RepeatedPtrField<config::v1::Issuer>& issuers,
    const std::string& state_dir, bool production, Deps deps) {
  std::unique_ptr<IssuerKeys> out(new IssuerKeys(production, std::move(deps)));
  for (const config::v1::Issuer& issuer : issuers) {
    const int named = (issuer.jwks_file().empty() ? 0 : 1) +
                      (issuer.discovery_url().empty() ? 0 : 1) +
                      (issuer.jwks_uri().empty() ? 0 : 1);
    if (issuer.issuer().empty() || named != 1) {
      return ConfigInvalid(issuer,
                           "name the issuer and exactly one of discoveryUrl, jwksUri and jwksFile");
    }
    for (const auto& other : out->sources_) {
      if (other->config.issuer() == issuer.issuer()) return ConfigInvalid(issuer, "is named twice");
    }
    auto source = std::make_unique<Source>();
    source->config = issuer;
    if (IsRemote(issuer)) {
      const std::string& url =
          issuer.jwks_uri().empty() ? issuer.discovery_url() : issuer.jwks_uri();
      absl::Status allowed = CheckHttpsUrl(url, !production);
      if (!allowed.ok()) return ConfigInvalid(issuer, allowed.message());
      const std::string folder = state_dir + "/issuer-keys";
      RETURN_IF_ERROR(base::MakeDirectories(folder, 0700));
      source->kept_path =
          absl::StrCat(folder, "/", crypto::Sha256Hex(issuer.issuer()).substr(0, 32), ".jwks");
      absl::StatusOr<std::string> kept = base::ReadFile(source->kept_path, 1 << 20);
      absl::StatusOr<std::string> usable = kept.ok() ? UsableKeys(*kept) : kept.status();
      if (usable.ok()) source->jwks = *std::move(usable);
    }
    out->sources_.push_back(std::move(source));
  }
  return out;
}

IssuerKeys::~IssuerKeys() { Stop(); }

std::vector<v1::PeopleIssuer> IssuerKeys::Issuers() {
  std::vector<v1::PeopleIssuer> out;
  for (const auto& source : sources_) {
    v1::PeopleIssuer entry;
    entry.set_issuer(source->config.issuer());
    *entry.mutable_audiences() = source->config.audiences();
    if (IsRemote(source->config)) {
      base::MutexLock lock(mutex_);
      entry.set_jwks(source->jwks);
    } else {
      absl::StatusOr<std::string> jwks = base::ReadFile(source->config.jwks_file(), 1 << 20);
      if (!jwks.ok()) {
        base::LogError("issuer.keys_unreadable", jwks.status(),
                       {{"issuer", source->config.issuer()}});
        continue;
      }
      entry.set_jwks(*jwks);
    }
    out.push_back(std::move(entry));
  }
  return out;
}

bool IssuerKeys::Refresh(absl::string_view issuer) {
  for (const auto& source : sources_) {
    if (source->config.issuer() != issuer || !IsRemote(source->config)) continue;
    {
      base::MutexLock lock(mutex_);
      if (source->busy) {
        const std::string before = source->jwks;
        const auto until = std::chrono::steady_clock::now() + kLongestWait;
        while (source->busy && !stopping_ && std::chrono::steady_clock::now() < until) {
          wake_.WaitFor(mutex_, until - std::chrono::steady_clock::now());
        }
        return source->jwks != before;
      }
      if (stopping_ || deps_.clock.Now() < source->attempted + kSoonestRefresh) return false;
      source->busy = true;
    }
    return Fetch(*source);
  }
  return false;
}

absl::Duration IssuerKeys::FetchDue() {
  absl::Time next = absl::InfiniteFuture();
  for (const auto& source : sources_) {
    if (!IsRemote(source->config)) {
      LookAtFile(*source);
      next = std::min(next, deps_.clock.Now() + kFileLook);
      continue;
    }
    bool mine = false;
    {
      base::MutexLock lock(mutex_);
      if (!source->busy && !stopping_ && source->due <= deps_.clock.Now()) {
        source->busy = mine = true;
      }
    }
    if (mine) Fetch(*source);
    base::MutexLock lock(mutex_);
    next = std::min(next, source->due);
  }
  return std::clamp(next - deps_.clock.Now(), absl::Seconds(1), absl::Hours(24));
}

void IssuerKeys::LookAtFile(Source& source) {
  // A file that cannot be read has no keys, as for Issuers.
  absl::StatusOr<std::string> jwks = base::ReadFile(source.config.jwks_file(), 1 << 20);
  const std::string now = jwks.ok() ? *jwks : "";
  std::function<void()> tell;
  {
    base::MutexLock lock(mutex_);
    if (source.looked && source.jwks != now) tell = changed_;
    source.looked = true;
    source.jwks = now;
  }
  if (!tell) return;
  base::Log(base::Level::kInfo, "issuer.keys_changed", {{"issuer", source.config.issuer()}});
  tell();
}

// Called by the one thread that has set `busy`.
bool IssuerKeys::Fetch(Source& source) {
  absl::StatusOr<std::string> jwks = Download(source.config);
  const std::string& name = source.config.issuer();
  const absl::Time now = deps_.clock.Now();
  bool changed = false;
  bool first_failure = false, recovered = false;
  std::function<void()> tell;
  {
    base::MutexLock lock(mutex_);
    source.attempted = now;
    source.busy = false;
    if (jwks.ok()) {
      changed = source.jwks != *jwks;
      source.jwks = *jwks;
    }
    source.due = now + (jwks.ok() ? Interval(source.config) : kSoonestRefresh);
    first_failure = !jwks.ok() && !source.failing;
    recovered = jwks.ok() && source.failing;
    source.failing = !jwks.ok();
    if (changed) tell = changed_;
    wake_.SignalAll();
  }
  Count(name, jwks.ok() ? "ok" : base::ReasonOf(jwks.status()));
  if (first_failure) base::LogError("issuer.keys_failed", jwks.status(), {{"issuer", name}});
  if (recovered) base::Log(base::Level::kInfo, "issuer.keys_recovered", {{"issuer", name}});
  if (jwks.ok()) ShowAge(name, now);
  if (!changed) return false;
  base::Log(base::Level::kInfo, "issuer.keys_changed", {{"issuer", name}});
  absl::Status kept = base::WriteFileAtomically(source.kept_path, *jwks, 0600);
  // They work without it until the next start.
  if (!kept.ok()) base::LogError("issuer.keys_not_kept", kept, {{"issuer", name}});
  if (tell) tell();
  return true;
}

absl::StatusOr<std::string> IssuerKeys::Download(const config::v1::Issuer& issuer) const {
  HttpsGetOptions options;
  options.ca_file = issuer.ca_file();
  options.timeout = deps_.timeout;
  options.allow_loopback_http = !production_;
  std::string jwks_uri = issuer.jwks_uri();
  if (jwks_uri.empty()) {
    std::string url = issuer.discovery_url();
    // The issuer's own address is enough (OpenID Connect Discovery 1.0 §4).
    if (!absl::StrContains(url, "/.well-known/")) {
      url = absl::StrCat(url.substr(0, url.find_last_not_of('/') + 1), kWellKnown);
    }
    ASSIGN_OR_RETURN(std::string text, deps_.get(url, options));
    absl::StatusOr<json> document = crypto::ParseStrictJson(text);
    if (!document.ok() || !document->is_object()) {
      return KeysRefused("ISSUER_DISCOVERY_INVALID", "the discovery document is not a JSON object");
    }
    auto member = [&](const char* key) {
      return document->contains(key) && (*document)[key].is_string()
                 ? (*document)[key].get<std::string>()
                 : std::string();
    };
    // §4.3: without this, whoever can answer at one address could speak for every issuer.
    if (member("issuer") != issuer.issuer()) {
      return KeysRefused("ISSUER_MISMATCH",
                         "the discovery document is of another issuer than the configured one");
    }
    jwks_uri = member("jwks_uri");
    if (jwks_uri.empty()) {
      return KeysRefused("ISSUER_DISCOVERY_INVALID", "the discovery document has no jwks_uri");
    }
  }
  ASSIGN_OR_RETURN(std::string jwks, deps_.get(jwks_uri, options));
  return UsableKeys(jwks);
}

void IssuerKeys::Start(std::function<void()> changed) {
  {
    base::MutexLock lock(mutex_);
    changed_ = std::move(changed);
  }
  if (sources_.empty()) return;
  fetcher_ = std::thread([this] {
    while (true) {
      const absl::Duration wait = FetchDue();
      const absl::Time until = deps_.clock.Now() + wait;
      base::MutexLock lock(mutex_);
      // `wake_` is also signalled after every fetch.
      while (!stopping_ && deps_.clock.Now() < until) {
        wake_.WaitFor(mutex_, absl::ToChronoNanoseconds(until - deps_.clock.Now()));
      }
      if (stopping_) return;
    }
  });
}

void IssuerKeys::Stop() {
  {
    base::MutexLock lock(mutex_);
    stopping_ = true;
    wake_.SignalAll();
  }
  if (fetcher_.joinable()) fetcher_.join();
}

}  // namespace oncomesh::access
