// SPDX-License-Identifier: Apache-2.0
#include "services/deidentification/manifest.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "libs/base/error.h"
#include "libs/base/status_macros.h"
#include "libs/crypto/encoding.h"

namespace oncomesh::deidentification {
namespace {

using nlohmann::ordered_json;

absl::Status Invalid() {
  return base::Error(absl::StatusCode::kInvalidArgument, "MANIFEST_INVALID",
                     "the file is not a manifest of this format; see doc/formats/manifest.md");
}

absl::Status BadSignature() {
  return base::Error(absl::StatusCode::kDataLoss, "MANIFEST_SIGNATURE",
                     "the signature is not one over this manifest: it was changed after the run");
}

std::string Line(const ordered_json& json) {
  return absl::StrCat(json.dump(-1, ' ', true, ordered_json::error_handler_t::replace), "\n");
}

bool IsHexDigest(absl::string_view text) {
  return text.size() == 64 && std::all_of(text.begin(), text.end(), [](char c) {
           return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f');
         });
}

// A path that stays below the folder it is relative to.
bool IsPlainPath(absl::string_view path) {
  if (path.empty() || path.size() > 512 || path[0] == '/') return false;
  for (absl::string_view part : absl::StrSplit(path, '/')) {
    if (part.empty() || part[0] == '.') return false;
  }
  return true;
}

// Reads fields of a JSON object; remembers whether one was missing or of the wrong type.
class Fields {
 public:
  explicit Fields(const ordered_json& object) : object_(object) {}
  std::string Text(const char* name) {
    if (!object_.contains(name) || !object_[name].is_string()) return Fail<std::string>();
    return object_[name].get<std::string>();
  }
  uint64_t Number(const char* name) {
    if (!object_.contains(name) || !object_[name].is_number_unsigned()) return Fail<uint64_t>();
    return object_[name].get<uint64_t>();
  }
  bool ok() const { return ok_; }

 private:
  template <typename T>
  T Fail() {
    ok_ = false;
    return T();
  }
  const ordered_json& object_;
  bool ok_ = true;
};

bool ReadDone(const ordered_json& json, DoneCounts& out) {
  if (!json.is_object()) return false;
  for (const auto& [name, value] : json.items()) {
    auto known = std::find_if(std::begin(kDoneNames), std::end(kDoneNames),
                              [&](const char* n) { return name == n; });
    if (known == std::end(kDoneNames) || !value.is_number_unsigned()) return false;
    out[static_cast<size_t>(known - std::begin(kDoneNames))] = value.get<uint32_t>();
  }
  return true;
}

}  // namespace

std::map<std::string, uint32_t> DoneByName(const DoneCounts& done) {
  std::map<std::string, uint32_t> out;
  for (size_t i = 0; i < done.size(); ++i) {
    if (done[i] > 0) out[kDoneNames[i]] = done[i];
  }
  return out;
}

Manifest NewManifest(const Deidentifier& deidentifier, absl::string_view project) {
  Manifest out;
  out.project = std::string(project);
  out.profile = deidentifier.profile().name;
  out.profile_digest = deidentifier.profile_digest();
  out.rule_table_edition = std::string(RuleTableEdition());
  out.rule_table_sha256 = std::string(RuleTableSha256());
  out.safe_private_sha256 = std::string(SafePrivateSha256());
  out.key_id = deidentifier.project_keys().KeyId();
  return out;
}

crypto::PrivateKey ManifestKey(const Keys& project_keys) {
  // A seed of 32 bytes is always a key.
  return *crypto::PrivateKey::FromEd25519Seed(project_keys.SigningSeed());
}

std::string WriteManifest(Manifest manifest, const crypto::PrivateKey& key) {
  std::sort(manifest.entries.begin(), manifest.entries.end(),
            [](const ManifestEntry& a, const ManifestEntry& b) { return a.path < b.path; });
  std::sort(
      manifest.quarantined.begin(), manifest.quarantined.end(),
      [](const ManifestQuarantine& a, const ManifestQuarantine& b) { return a.index < b.index; });
  std::string out = Line(ordered_json{{"format", kManifestFormat},
                                      {"project", manifest.project},
                                      {"profile", manifest.profile},
                                      {"profileSha256", manifest.profile_digest},
                                      {"ruleTable", manifest.rule_table_edition},
                                      {"ruleTableSha256", manifest.rule_table_sha256},
                                      {"safePrivateSha256", manifest.safe_private_sha256},
                                      {"keyId", manifest.key_id},
                                      {"objects", manifest.entries.size()},
                                      {"quarantined", manifest.quarantined.size()}});
  for (const ManifestEntry& entry : manifest.entries) {
    ordered_json json{{"path", entry.path}, {"sha256", entry.sha256}, {"bytes", entry.bytes}};
    if (entry.table) json["rows"] = entry.rows;
    json["done"] = DoneByName(entry.done);
    out += Line(json);
  }
  for (const ManifestQuarantine& quarantined : manifest.quarantined) {
    out += Line(ordered_json{{"index", quarantined.index}, {"reason", quarantined.reason}});
  }
  std::string signature = key.Sign(out);
  out += Line(ordered_json{{"algorithm", "Ed25519"},
                           {"publicKey", crypto::Base64Url(key.Public().Raw())},
                           {"signature", crypto::Base64Url(signature)}});
  return out;
}

absl::StatusOr<ReadManifestResult> ReadManifest(absl::string_view text) {
  if (text.empty() || text.back() != '\n') return Invalid();
  size_t last = text.rfind('\n', text.size() - 2);
  if (last == absl::string_view::npos) return Invalid();
  absl::string_view body = text.substr(0, last + 1);
  auto parse = [](absl::string_view line) {
    return ordered_json::parse(line.begin(), line.end(), nullptr, /*allow_exceptions=*/false);
  };
  ordered_json seal = parse(text.substr(last + 1));
  if (!seal.is_object()) return Invalid();
  Fields seal_fields(seal);
  std::string algorithm = seal_fields.Text("algorithm");
  absl::StatusOr<std::string> raw_key = crypto::Base64UrlDecode(seal_fields.Text("publicKey"));
  absl::StatusOr<std::string> signature = crypto::Base64UrlDecode(seal_fields.Text("signature"));
  if (!seal_fields.ok() || algorithm != "Ed25519" || !raw_key.ok() || !signature.ok()) {
    return Invalid();
  }
  absl::StatusOr<crypto::PublicKey> key = crypto::PublicKey::FromEd25519(*raw_key);
  if (!key.ok() || !key->Verify(body, *signature)) return BadSignature();

  ReadManifestResult out;
  out.public_key = *raw_key;
  bool first = true;
  uint64_t objects = 0, quarantined = 0;
  for (absl::string_view line : absl::StrSplit(body, '\n', absl::SkipEmpty())) {
    ordered_json json = parse(line);
    if (!json.is_object()) return Invalid();
    Fields fields(json);
    if (first) {
      if (fields.Text("format") != kManifestFormat) return Invalid();
      out.manifest.project = fields.Text("project");
      out.manifest.profile = fields.Text("profile");
      out.manifest.profile_digest = fields.Text("profileSha256");
      out.manifest.rule_table_edition = fields.Text("ruleTable");
      out.manifest.rule_table_sha256 = fields.Text("ruleTableSha256");
      out.manifest.safe_private_sha256 = fields.Text("safePrivateSha256");
      out.manifest.key_id = fields.Text("keyId");
      objects = fields.Number("objects");
      quarantined = fields.Number("quarantined");
      first = false;
    } else if (json.contains("path")) {
      ManifestEntry entry;
      entry.path = fields.Text("path");
      entry.sha256 = fields.Text("sha256");
      entry.bytes = fields.Number("bytes");
      entry.table = json.contains("rows");
      if (entry.table) entry.rows = fields.Number("rows");
      if (!json.contains("done") || !ReadDone(json["done"], entry.done)) return Invalid();
      if (!IsPlainPath(entry.path) || !IsHexDigest(entry.sha256)) return Invalid();
      out.manifest.entries.push_back(std::move(entry));
    } else {
      out.manifest.quarantined.push_back({fields.Number("index"), fields.Text("reason")});
    }
    if (!fields.ok()) return Invalid();
  }
  if (first || objects != out.manifest.entries.size() ||
      quarantined != out.manifest.quarantined.size()) {
    return Invalid();
  }
  return out;
}

}  // namespace oncomesh::deidentification
