// SPDX-License-Identifier: Apache-2.0
#include "services/access/policy_keeper.h"

#include <google/protobuf/util/json_util.h>

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "libs/base/error.h"
#include "libs/base/files.h"
#include "libs/base/status_macros.h"
#include "services/access/duo.h"

namespace oncomesh::access {
namespace {

absl::Status Invalid(absl::string_view field, absl::string_view message) {
  return base::Error(absl::StatusCode::kInvalidArgument, "POLICY_INVALID",
                     absl::StrCat(field, ": ", message), {{"field", std::string(field)}});
}

absl::Status Write(const std::string& path, const v1::NodePolicy& policy) {
  google::protobuf::util::JsonPrintOptions options;
  options.add_whitespace = true;
  options.always_print_primitive_fields = true;
  std::string json;
  if (!google::protobuf::util::MessageToJsonString(policy, &json, options).ok()) {
    return absl::InternalError("the policy cannot be written as JSON");
  }
  return base::WriteFileAtomically(path, json, 0600);
}

}  // namespace

absl::Status CompletePolicy(v1::NodePolicy& policy) {
  if (policy.min_cell() == 0) policy.set_min_cell(5);
  if (policy.rounding() == 0) policy.set_rounding(5);
  if (!policy.has_open_counts()) policy.set_open_counts(true);
  if (policy.min_patients() == 0) policy.set_min_patients(2);
  if (policy.max_rounds() == 0) policy.set_max_rounds(1000);
  if (policy.max_trust_age_seconds() == 0) policy.set_max_trust_age_seconds(3600);
  if (policy.min_cell() < 2 || policy.min_cell() > 1000) return Invalid("minCell", "2 to 1000");
  if (policy.rounding() < 1 || policy.rounding() > 100) return Invalid("rounding", "1 to 100");
  if (policy.min_patients() < 1 || policy.min_patients() > 1'000'000) {
    return Invalid("minPatients", "1 to 1000000");
  }
  if (policy.max_rounds() < 1 || policy.max_rounds() > 1'000'000) {
    return Invalid("maxRounds", "1 to 1000000");
  }
  if (policy.max_trust_age_seconds() < 1 || policy.max_trust_age_seconds() > 7 * 86400) {
    return Invalid("maxTrustAgeSeconds", "1 second to 7 days");
  }
  for (const std::string& purpose : policy.purposes()) {
    if (!IsDuoCode(purpose)) return Invalid("purposes", "codes of the Data Use Ontology, DUO:…");
  }
  for (const std::string& digest : policy.trainer_digests()) {
    if (digest.size() != 64 || digest.find_first_not_of("0123456789abcdef") != std::string::npos) {
      return Invalid("trainerDigests", "SHA-256 digests of 64 lower-case hexadecimal digits");
    }
  }
  return absl::OkStatus();
}

absl::StatusOr<std::unique_ptr<PolicyKeeper>> PolicyKeeper::Open(const std::string& path) {
  v1::NodePolicy policy;
  absl::StatusOr<std::string> json = base::ReadFile(path, 1 << 20);
  if (json.ok()) {
    auto parsed = google::protobuf::util::JsonStringToMessage(*json, &policy);
    if (!parsed.ok()) return Invalid("policy.json", std::string(parsed.message()));
    RETURN_IF_ERROR(CompletePolicy(policy));
  } else if (json.status().code() == absl::StatusCode::kNotFound) {
    RETURN_IF_ERROR(CompletePolicy(policy));
    RETURN_IF_ERROR(Write(path, policy));
  } else {
    return json.status();
  }
  return std::unique_ptr<PolicyKeeper>(new PolicyKeeper(path, std::move(policy)));
}

v1::NodePolicy PolicyKeeper::Get() {
  base::MutexLock lock(mutex_);
  return policy_;
}

absl::Status PolicyKeeper::Set(v1::NodePolicy policy) {
  RETURN_IF_ERROR(CompletePolicy(policy));
  base::MutexLock lock(mutex_);
  RETURN_IF_ERROR(Write(path_, policy));
  policy_ = std::move(policy);
  return absl::OkStatus();
}

}  // namespace oncomesh::access
