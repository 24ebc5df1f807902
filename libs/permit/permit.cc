// SPDX-License-Identifier: Apache-2.0
#include "libs/permit/permit.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "libs/base/error.h"
#include "libs/base/status_macros.h"
#include "libs/crypto/digest.h"

namespace oncomesh::permit {
namespace {

using nlohmann::json;

constexpr int kVersion = 1;
constexpr size_t kMaxList = 1000;
// Between the clocks of two sites, as tokens have it.
constexpr absl::Duration kClockSlack = absl::Minutes(1);

absl::Status Malformed(absl::string_view what) {
  return base::Error(absl::StatusCode::kInvalidArgument, "PERMIT_MALFORMED",
                     absl::StrCat("the permit is malformed: ", what));
}

absl::Status Denied(absl::string_view reason, absl::string_view message) {
  return base::Error(absl::StatusCode::kPermissionDenied, reason, message);
}

bool Contains(const std::vector<std::string>& list, const std::string& value) {
  return std::find(list.begin(), list.end(), value) != list.end();
}

bool Text(const json& object, const char* name, std::string& out) {
  if (!object.contains(name) || !object[name].is_string()) return false;
  out = object[name].get<std::string>();
  return !out.empty() && out.size() <= 512;
}

bool List(const json& object, const char* name, std::vector<std::string>& out) {
  if (!object.contains(name) || !object[name].is_array()) return false;
  const json& list = object[name];
  if (list.empty() || list.size() > kMaxList) return false;
  for (const json& entry : list) {
    if (!entry.is_string() || entry.get_ref<const std::string&>().empty() ||
        entry.get_ref<const std::string&>().size() > 512) {
      return false;
    }
    out.push_back(entry.get<std::string>());
  }
  return true;
}

bool Integer(const json& object, const char* name, int64_t& out) {
  if (!object.contains(name) || !object[name].is_number_integer()) return false;
  // A number beyond int64 is kept unsigned by the parser and would wrap.
  if (object[name].is_number_unsigned() && object[name].get<uint64_t>() > INT64_MAX) return false;
  out = object[name].get<int64_t>();
  return out >= 0 && out <= int64_t{253402300799};  // the year 9999
}

const std::set<std::string>& KnownClaims() {
  static const auto* claims =
      new std::set<std::string>{"ver",        "jti",    "iss", "people", "datasets", "purpose",
                                "operations", "limits", "nbf", "exp",    "epoch",    "request"};
  return *claims;
}

absl::StatusOr<Permit> Parse(const json& payload) {
  for (const auto& [name, value] : payload.items()) {
    // An unknown claim could be a limit that this program does not know how to keep.
    if (KnownClaims().count(name) == 0) return Malformed("it carries an unknown claim");
  }
  Permit out;
  int64_t version = 0, not_before = 0, expires = 0, max_rounds = 0;
  if (!Integer(payload, "ver", version) || version != kVersion) return Malformed("ver must be 1");
  if (!Text(payload, "jti", out.id) || !Text(payload, "iss", out.issuer) ||
      !Text(payload, "purpose", out.purpose) || !Text(payload, "request", out.request)) {
    return Malformed("jti, iss, purpose and request must be strings");
  }
  if (!List(payload, "people", out.people) || !List(payload, "datasets", out.datasets) ||
      !List(payload, "operations", out.operations)) {
    return Malformed("people, datasets and operations must be lists of 1 to 1000 strings");
  }
  for (const std::string& operation : out.operations) {
    if (operation != "count" && operation != "train" && operation != "evaluate") {
      return Malformed("it names an operation that does not exist");
    }
  }
  if (!Integer(payload, "nbf", not_before) || !Integer(payload, "exp", expires) ||
      !Integer(payload, "epoch", out.epoch) || expires <= not_before) {
    return Malformed("nbf, exp and epoch must be whole numbers, exp after nbf");
  }
  if (payload.contains("limits")) {
    const json& limits = payload["limits"];
    if (!limits.is_object() || limits.size() != 1 || !Integer(limits, "maxRounds", max_rounds) ||
        max_rounds > 1'000'000) {
      return Malformed("limits holds maxRounds and nothing else");
    }
  }
  out.max_rounds = static_cast<int32_t>(max_rounds);
  out.not_before = absl::FromUnixSeconds(not_before);
  out.expires = absl::FromUnixSeconds(expires);
  return out;
}

}  // namespace

std::string NodeOf(absl::string_view dataset) {
  std::vector<absl::string_view> parts = absl::StrSplit(dataset, '/');
  return parts.size() == 6 && parts[0] == "nodes" && parts[2] == "datasets" &&
                 parts[4] == "versions"
             ? std::string(parts[1])
             : "";
}

std::string Digest(absl::string_view compact) { return crypto::Sha256Hex(compact); }

absl::StatusOr<std::string> Sign(const Permit& permit, const crypto::PrivateKey& key,
                                 absl::string_view kid) {
  json payload = {{"ver", kVersion},
                  {"jti", permit.id},
                  {"iss", permit.issuer},
                  {"people", permit.people},
                  {"datasets", permit.datasets},
                  {"purpose", permit.purpose},
                  {"operations", permit.operations},
                  {"nbf", absl::ToUnixSeconds(permit.not_before)},
                  {"exp", absl::ToUnixSeconds(permit.expires)},
                  {"epoch", permit.epoch},
                  {"request", permit.request}};
  if (permit.max_rounds > 0) payload["limits"] = {{"maxRounds", permit.max_rounds}};
  RETURN_IF_ERROR(Parse(payload).status());
  std::string compact = crypto::SignJws(key, kid, kPermitType, payload.dump());
  if (compact.size() > crypto::kMaxJwsBytes) {
    return base::Error(
        absl::StatusCode::kInvalidArgument, "PERMIT_TOO_LARGE",
        "a permit for so many datasets and people would have more than 16 KiB, which "
        "no site accepts; ask for fewer datasets in one request");
  }
  return compact;
}

absl::StatusOr<Permit> Verify(absl::string_view compact, const TrustState& trust) {
  absl::StatusOr<crypto::Jws> jws = crypto::VerifyJws(compact, trust.keys);
  if (!jws.ok()) {
    const std::string reason = base::ReasonOf(jws.status());
    if (reason == "JWS_MALFORMED") return Malformed("it is no compact JWS");
    if (reason == "JWS_KEY_UNKNOWN") {
      return base::Error(absl::StatusCode::kUnauthenticated, "PERMIT_FOREIGN",
                         "the permit is signed by a key that this mesh does not know");
    }
    return base::Error(absl::StatusCode::kUnauthenticated, "PERMIT_SIGNATURE_INVALID",
                       "the signature of the permit is not genuine");
  }
  // Only Ed25519 keys sign permits, whatever else is in the set.
  if (trust.keys.at(jws->kid).type() != crypto::KeyType::kEd25519) {
    return base::Error(absl::StatusCode::kUnauthenticated, "PERMIT_FOREIGN",
                       "the permit is signed by a key that is not one for permits");
  }
  if (jws->typ != kPermitType) return Malformed("typ must be oncomesh-permit+jwt");
  ASSIGN_OR_RETURN(Permit permit, Parse(jws->payload));
  if (permit.issuer != trust.issuer) {
    return base::Error(absl::StatusCode::kUnauthenticated, "PERMIT_FOREIGN",
                       "the permit was issued for another mesh");
  }
  return permit;
}

absl::StatusOr<Permit> CheckInForce(absl::string_view compact, const TrustState& trust,
                                    absl::Time now) {
  ASSIGN_OR_RETURN(Permit permit, Verify(compact, trust));
  // A clock that was set back would make an old view of the epoch look fresh for ever.
  const absl::Duration age = now - trust.fetched;
  if (age > trust.max_age || age < -kClockSlack || permit.epoch > trust.epoch) {
    return base::Error(
        absl::StatusCode::kUnavailable, "EPOCH_TOO_OLD",
        "this site has not heard from the hub for too long to know whether the permit "
        "was revoked; it works again when the connection does");
  }
  if (trust.revoked.count(permit.id) > 0) {
    return Denied("PERMIT_REVOKED", "the permit was revoked; ask for access again");
  }
  if (now + kClockSlack < permit.not_before) {
    return Denied("PERMIT_NOT_YET_VALID",
                  "the permit is not in force yet; check this machine's clock");
  }
  if (now >= permit.expires) {
    return Denied("PERMIT_EXPIRED", "the permit has expired; ask for access again");
  }
  return permit;
}

absl::StatusOr<Permit> Check(absl::string_view compact, const TrustState& trust, const Use& use) {
  ASSIGN_OR_RETURN(Permit permit, CheckInForce(compact, trust, use.now));
  if (!use.person.empty() && !Contains(permit.people, use.person)) {
    return Denied("PERMIT_NOT_FOR_PERSON", "the permit does not name this person");
  }
  if (!Contains(permit.operations, use.operation)) {
    return Denied("PERMIT_OPERATION_NOT_ALLOWED",
                  absl::StrCat("the permit does not allow to ", use.operation));
  }
  for (const std::string& dataset : use.datasets) {
    if (!Contains(permit.datasets, dataset)) {
      return Denied("PERMIT_WRONG_DATASET",
                    absl::StrCat("the permit does not name the dataset ", dataset));
    }
    if (!use.node.empty() && NodeOf(dataset) != use.node) {
      return Denied("PERMIT_WRONG_NODE", "the dataset is not one of this node");
    }
  }
  return permit;
}

}  // namespace oncomesh::permit
