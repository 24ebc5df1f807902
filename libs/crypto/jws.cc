// SPDX-License-Identifier: Apache-2.0
#include "libs/crypto/jws.h"

#include <set>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "libs/base/error.h"
#include "libs/base/status_macros.h"
#include "libs/crypto/digest.h"
#include "libs/crypto/encoding.h"

namespace oncomesh::crypto {
namespace {

using nlohmann::json;

constexpr size_t kMaxDepth = 16;
constexpr size_t kMaxKeys = 64;
constexpr size_t kMaxJwksBytes = 256 << 10;

// Builds the document through nlohmann's SAX interface and stops at what a plain parse would let
// pass: a key that stands twice (the last one would win) and too deep a nesting.
class StrictBuilder : public nlohmann::detail::json_sax_dom_parser<json> {
  using Base = nlohmann::detail::json_sax_dom_parser<json>;

 public:
  explicit StrictBuilder(json& out) : Base(out, /*allow_exceptions=*/false) {}
  bool start_object(std::size_t size) {
    if (keys_.size() + arrays_ >= kMaxDepth) return false;
    keys_.emplace_back();
    return Base::start_object(size);
  }
  bool key(string_t& name) {
    if (!keys_.back().insert(name).second) return false;
    return Base::key(name);
  }
  bool end_object() {
    keys_.pop_back();
    return Base::end_object();
  }
  bool start_array(std::size_t size) {
    if (keys_.size() + arrays_ >= kMaxDepth) return false;
    ++arrays_;
    return Base::start_array(size);
  }
  bool end_array() {
    --arrays_;
    return Base::end_array();
  }

 private:
  std::vector<std::set<std::string>> keys_;
  size_t arrays_ = 0;
};

absl::Status Malformed(absl::string_view what) {
  return base::Error(absl::StatusCode::kInvalidArgument, "JWS_MALFORMED",
                     absl::StrCat("the token is malformed: ", what));
}

absl::Status Refused(absl::string_view reason, absl::string_view what) {
  return base::Error(absl::StatusCode::kUnauthenticated, reason, what);
}

absl::StatusOr<json> DecodePart(absl::string_view part, absl::string_view name) {
  absl::StatusOr<std::string> text = Base64UrlDecode(part);
  if (!text.ok()) return Malformed(absl::StrCat("its ", name, " is not base64url"));
  absl::StatusOr<json> value = ParseStrictJson(*text);
  if (!value.ok() || !value->is_object()) {
    return Malformed(absl::StrCat("its ", name, " is not a JSON object"));
  }
  return value;
}

struct Parts {
  Jws jws;
  std::string algorithm;
  absl::string_view signed_text;
  std::string signature;
};

absl::StatusOr<Parts> Split(absl::string_view compact) {
  if (compact.size() > kMaxJwsBytes) return Malformed("it is larger than 16 KiB");
  std::vector<absl::string_view> parts = absl::StrSplit(compact, '.');
  if (parts.size() != 3) return Malformed("it does not have three parts");
  ASSIGN_OR_RETURN(json header, DecodePart(parts[0], "header"));
  for (const char* name : {"crit", "jwk", "jku", "x5u", "x5c", "b64", "zip"}) {
    if (header.contains(name)) return Malformed(absl::StrCat("its header carries ", name));
  }
  Parts out;
  auto text = [&](const char* name, std::string& value) {
    if (!header.contains(name)) return true;
    if (!header[name].is_string()) return false;
    value = header[name].get<std::string>();
    return value.size() <= 256;
  };
  if (!text("alg", out.algorithm) || !text("kid", out.jws.kid) || !text("typ", out.jws.typ)) {
    return Malformed("alg, kid and typ must be short strings");
  }
  ASSIGN_OR_RETURN(out.jws.payload, DecodePart(parts[1], "payload"));
  absl::StatusOr<std::string> signature = Base64UrlDecode(parts[2]);
  if (!signature.ok()) return Malformed("its signature is not base64url");
  out.signature = *std::move(signature);
  out.signed_text = compact.substr(0, parts[0].size() + 1 + parts[1].size());
  return out;
}

// The required members of the key in lexicographic order, as RFC 7638 hashes them.
json PublicMembers(const PublicKey& key) {
  std::string raw = key.Raw();
  if (key.type() == KeyType::kRsa) {
    return {{"e", Base64Url(key.Exponent())}, {"kty", "RSA"}, {"n", Base64Url(key.Modulus())}};
  }
  if (key.type() == KeyType::kEd25519) {
    return {{"crv", "Ed25519"}, {"kty", "OKP"}, {"x", Base64Url(raw)}};
  }
  return {{"crv", "P-256"},
          {"kty", "EC"},
          {"x", Base64Url(absl::string_view(raw).substr(0, 32))},
          {"y", Base64Url(absl::string_view(raw).substr(32))}};
}

absl::StatusOr<PublicKey> ParseJwk(const json& jwk) {
  auto member = [&](const char* name) -> absl::StatusOr<std::string> {
    if (!jwk.contains(name) || !jwk[name].is_string()) {
      return base::Error(absl::StatusCode::kInvalidArgument, "JWKS_INVALID",
                         "a key lacks a member");
    }
    return Base64UrlDecode(jwk[name].get_ref<const std::string&>());
  };
  const std::string type = jwk.value("kty", "");
  const std::string curve =
      jwk.contains("crv") && jwk["crv"].is_string() ? jwk["crv"].get<std::string>() : "";
  if (type == "OKP" && curve == "Ed25519") {
    ASSIGN_OR_RETURN(std::string x, member("x"));
    return PublicKey::FromEd25519(x);
  }
  if (type == "EC" && curve == "P-256") {
    ASSIGN_OR_RETURN(std::string x, member("x"));
    ASSIGN_OR_RETURN(std::string y, member("y"));
    return PublicKey::FromP256(x, y);
  }
  if (type == "RSA") {
    ASSIGN_OR_RETURN(std::string n, member("n"));
    ASSIGN_OR_RETURN(std::string e, member("e"));
    return PublicKey::FromRsa(n, e);
  }
  return absl::UnimplementedError("a key of another type");
}

}  // namespace

absl::StatusOr<json> ParseStrictJson(absl::string_view text) {
  json out;
  StrictBuilder builder(out);
  // The parser would pass over a byte order mark; then two texts would mean the same.
  bool good = !absl::StartsWith(text, "\xef\xbb\xbf") &&
              json::sax_parse(text.begin(), text.end(), &builder);
  if (!good) {
    return base::Error(absl::StatusCode::kInvalidArgument, "JSON_INVALID",
                       "the text is not JSON, names a key twice, or is nested too deep");
  }
  return out;
}

const char* AlgorithmOf(KeyType type) {
  switch (type) {
    case KeyType::kEd25519:
      return "EdDSA";
    case KeyType::kP256:
      return "ES256";
    case KeyType::kRsa:
      break;
  }
  return "RS256";
}

std::string SignJws(const PrivateKey& key, absl::string_view kid, absl::string_view typ,
                    absl::string_view payload) {
  json header = {{"alg", AlgorithmOf(key.type())}, {"kid", std::string(kid)}};
  if (!typ.empty()) header["typ"] = std::string(typ);
  std::string text = absl::StrCat(Base64Url(header.dump()), ".", Base64Url(payload));
  return absl::StrCat(text, ".", Base64Url(key.Sign(text)));
}

absl::StatusOr<Jws> VerifyJws(absl::string_view compact, const KeySet& keys) {
  ASSIGN_OR_RETURN(Parts parts, Split(compact));
  auto key = keys.find(parts.jws.kid);
  if (key == keys.end()) {
    return Refused("JWS_KEY_UNKNOWN", "the token is signed by a key that is not known here");
  }
  if (parts.algorithm != AlgorithmOf(key->second.type())) {
    return Refused("JWS_ALGORITHM", "the token names another algorithm than its key has");
  }
  if (!key->second.Verify(parts.signed_text, parts.signature)) {
    return Refused("JWS_SIGNATURE_INVALID", "the signature of the token is not genuine");
  }
  return std::move(parts.jws);
}

absl::StatusOr<Jws> PeekJws(absl::string_view compact) {
  ASSIGN_OR_RETURN(Parts parts, Split(compact));
  return std::move(parts.jws);
}

absl::StatusOr<KeySet> ParseJwks(absl::string_view text) {
  auto invalid = [](absl::string_view what) {
    return base::Error(absl::StatusCode::kInvalidArgument, "JWKS_INVALID", what);
  };
  if (text.size() > kMaxJwksBytes) return invalid("the key set is larger than 256 KiB");
  absl::StatusOr<json> document = ParseStrictJson(text);
  if (!document.ok() || !document->is_object() || !document->contains("keys") ||
      !(*document)["keys"].is_array()) {
    return invalid("the text is not a JWK set");
  }
  if ((*document)["keys"].size() > kMaxKeys) return invalid("the key set has more than 64 keys");
  KeySet out;
  for (const json& jwk : (*document)["keys"]) {
    if (!jwk.is_object() || !jwk.contains("kty") || !jwk["kty"].is_string()) continue;
    if (!jwk.contains("kid") || !jwk["kid"].is_string()) continue;
    // A token without a kid asks for the key "": no set from outside may answer that.
    if (jwk["kid"].get_ref<const std::string&>().empty()) continue;
    if (jwk.contains("use") && jwk["use"] != "sig") continue;
    absl::StatusOr<PublicKey> key = ParseJwk(jwk);
    if (!key.ok()) continue;
    if (jwk.contains("alg") && jwk["alg"] != AlgorithmOf(key->type())) continue;
    if (!out.emplace(jwk["kid"].get<std::string>(), *std::move(key)).second) {
      return invalid("the key set names a kid twice");
    }
  }
  return out;
}

std::string PrintJwks(const KeySet& keys) {
  json list = json::array();
  for (const auto& [kid, key] : keys) {
    json jwk = PublicMembers(key);
    jwk["kid"] = kid;
    jwk["use"] = "sig";
    jwk["alg"] = AlgorithmOf(key.type());
    list.push_back(std::move(jwk));
  }
  return json{{"keys", list}}.dump();
}

std::string Thumbprint(const PublicKey& key) {
  return Base64Url(Sha256Bytes(PublicMembers(key).dump()));
}

}  // namespace oncomesh::crypto
