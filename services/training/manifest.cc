// SPDX-License-Identifier: Apache-2.0
#include "services/training/manifest.h"

#include <cstdio>
#include <nlohmann/json.hpp>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "libs/base/error.h"
#include "libs/base/status_macros.h"
#include "libs/crypto/encoding.h"
#include "libs/federated/plan.h"

namespace oncomesh::training {
namespace {

constexpr size_t kMaxManifestBytes = 8 << 20;

std::string TimeText(const google::protobuf::Timestamp& time) {
  return absl::FormatTime("%Y-%m-%dT%H:%M:%E9SZ", FromProto(time), absl::UTCTimeZone());
}

// Numbers that are not whole stand as text with 17 significant digits, which is exact for float64
// and needs no rule for how JSON prints numbers.
std::string NumberText(double value) {
  char buffer[32];
  std::snprintf(buffer, sizeof(buffer), "%.17g", value);
  return buffer;
}

template <typename Metrics>
nlohmann::json MetricsJson(const Metrics& metrics) {
  nlohmann::json out = nlohmann::json::object();
  for (const auto& [name, value] : metrics) out[name] = NumberText(value);
  return out;
}

absl::Status Malformed() {
  return base::Error(absl::StatusCode::kInvalidArgument, "MANIFEST_MALFORMED",
                     "this is not a round manifest as a compact JWS");
}

}  // namespace

std::string ManifestPayload(const RunRecord& record, const Closing& closing,
                            absl::string_view software) {
  const v1::Run& run = record.run;
  const v1::Round& round = record.round;
  nlohmann::json contributors = nlohmann::json::array(), dropped = nlohmann::json::array();
  for (const TaskRecord& task : record.tasks) {
    const v1::Contribution& c = task.contribution;
    if (c.state() != v1::Contribution::STATE_DONE) {
      dropped.push_back({{"node", c.node()}, {"reason", c.reason()}});
      continue;
    }
    nlohmann::json entry = {{"node", c.node()},
                            {"datasets", federated::DatasetsOf(run.plan(), c.node())},
                            {"examples", c.examples()},
                            {"cases", c.cases()},
                            {"metrics", MetricsJson(c.metrics())}};
    if (!c.update_sha256().empty()) {
      entry["updateSha256"] = c.update_sha256();
      entry["updateBytes"] = c.update_bytes();
    }
    contributors.push_back(std::move(entry));
  }
  nlohmann::json grids = nlohmann::json::object();
  for (const auto& [name, grid] : closing.grids) {
    grids[name] = {{"scale", grid.scale}, {"saturated", grid.saturated}};
  }
  nlohmann::json inputs = nlohmann::json::object();
  if (!round.input_sha256().empty()) inputs["modelSha256"] = round.input_sha256();
  if (!run.statistics_sha256().empty()) inputs["statisticsSha256"] = run.statistics_sha256();
  nlohmann::json output = nlohmann::json::object();
  if (!closing.model_sha256.empty()) output["sha256"] = closing.model_sha256;
  output["metrics"] = MetricsJson(closing.metrics);
  output["examples"] = closing.examples;
  nlohmann::json payload = {
      {"format", kManifestFormat},
      {"run", run.name()},
      {"round", round.number()},
      {"kind", v1::Round::Kind_Name(round.kind()).substr(5)},  // without "KIND_"
      {"strategy", v1::Strategy_Name(run.plan().strategy()).substr(9)},
      {"planSha256", run.plan_sha256()},
      {"trainer",
       {{"name", run.plan().trainer().name()}, {"digest", run.plan().trainer().digest()}}},
      {"permit", {{"id", run.permit()}, {"sha256", run.permit_sha256()}}},
      {"inputs", inputs},
      {"output", output},
      {"contributors", contributors},
      {"dropped", dropped},
      {"grids", grids},
      {"openTime", TimeText(round.open_time())},
      {"closeTime", TimeText(round.close_time())},
      {"previousManifestSha256", run.manifest_sha256()},
      {"software", std::string(software)}};
  return payload.dump();
}

std::string SignManifest(const crypto::PrivateKey& key, absl::string_view payload) {
  return crypto::SignJws(key, crypto::Thumbprint(key.Public()), kManifestType, payload);
}

absl::StatusOr<std::string> VerifyManifest(absl::string_view jws, const crypto::KeySet& keys) {
  // Not crypto::VerifyJws: its bound is made for tokens, and a manifest of many nodes is longer.
  if (jws.size() > kMaxManifestBytes) return Malformed();
  std::vector<absl::string_view> parts = absl::StrSplit(jws, '.');
  if (parts.size() != 3) return Malformed();
  auto head = crypto::Base64UrlDecode(parts[0]);
  auto payload = crypto::Base64UrlDecode(parts[1]);
  auto signature = crypto::Base64UrlDecode(parts[2]);
  if (!head.ok() || !payload.ok() || !signature.ok()) return Malformed();
  absl::StatusOr<nlohmann::json> header = crypto::ParseStrictJson(*head);
  if (!header.ok() || !header->is_object() || header->size() != 3 ||
      header->value("alg", "") != "EdDSA" || header->value("typ", "") != kManifestType) {
    return Malformed();
  }
  auto kid = header->find("kid");
  if (kid == header->end() || !kid->is_string()) return Malformed();
  auto key = keys.find(kid->get<std::string>());
  if (key == keys.end() || key->second.type() != crypto::KeyType::kEd25519) {
    return base::Error(absl::StatusCode::kUnauthenticated, "MANIFEST_KEY_UNKNOWN",
                       "the manifest is signed with a key that is not the hub's");
  }
  absl::string_view input = jws.substr(0, parts[0].size() + 1 + parts[1].size());
  if (!key->second.Verify(input, *signature)) {
    return base::Error(absl::StatusCode::kUnauthenticated, "MANIFEST_SIGNATURE_INVALID",
                       "the manifest was changed after it was signed");
  }
  return *std::move(payload);
}

}  // namespace oncomesh::training
