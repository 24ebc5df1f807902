// SPDX-License-Identifier: Apache-2.0
#include "libs/rpc/access_rules.h"

#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/str_split.h"
#include "google/protobuf/descriptor.h"
#include "libs/base/error.h"
#include "libs/rpc/identity.h"

namespace oncomesh::rpc {
namespace {

// "node/*/training" matches the training service of any node.
bool Matches(absl::string_view pattern, absl::string_view path) {
  std::vector<absl::string_view> want = absl::StrSplit(pattern, '/');
  std::vector<absl::string_view> have = absl::StrSplit(path, '/');
  if (want.size() != have.size()) return false;
  for (size_t i = 0; i < want.size(); ++i) {
    if (want[i] != "*" && want[i] != have[i]) return false;
  }
  return true;
}

}  // namespace

const options::v1::AccessRule* FindAccessRule(absl::string_view full_method) {
  // The pool builds a name and takes a lock for each look; a thread meets few methods, again and
  // again. Only those that exist are kept, so nobody outside can make it grow.
  thread_local absl::flat_hash_map<std::string, const options::v1::AccessRule*> known;
  if (auto found = known.find(full_method); found != known.end()) return found->second;
  if (full_method.empty() || full_method[0] != '/') return nullptr;
  std::string name(full_method.substr(1));
  absl::StrReplaceAll({{"/", "."}}, &name);
  const auto* method = google::protobuf::DescriptorPool::generated_pool()->FindMethodByName(name);
  if (method == nullptr || !method->options().HasExtension(options::v1::access)) return nullptr;
  const auto* rule = &method->options().GetExtension(options::v1::access);
  known.emplace(full_method, rule);
  return rule;
}

absl::Status CheckServiceRules(absl::string_view full_service) {
  const auto* service = google::protobuf::DescriptorPool::generated_pool()->FindServiceByName(
      std::string(full_service));
  if (service == nullptr) {
    return base::Error(absl::StatusCode::kFailedPrecondition, "ACCESS_RULE_MISSING",
                       absl::StrCat("no service ", full_service, " is linked in"));
  }
  for (int i = 0; i < service->method_count(); ++i) {
    const auto* method = service->method(i);
    const auto& rule = method->options().GetExtension(options::v1::access);
    if (!method->options().HasExtension(options::v1::access) ||
        (!rule.public_() && rule.roles().empty() && rule.services().empty())) {
      return base::Error(absl::StatusCode::kFailedPrecondition, "ACCESS_RULE_MISSING",
                         absl::StrCat(method->full_name(), " has no access rule"),
                         {{"method", method->full_name()}});
    }
    // What such a call answers is with the caller before an event of its end could be refused.
    if (method->server_streaming() && !method->client_streaming() && rule.audit() &&
        !rule.audit_first()) {
      return base::Error(absl::StatusCode::kFailedPrecondition, "ACCESS_RULE_AUDIT",
                         absl::StrCat(method->full_name(),
                                      " answers with a stream and is audited: its access rule "
                                      "needs audit_first"),
                         {{"method", method->full_name()}});
    }
  }
  return absl::OkStatus();
}

absl::Status Allow(const options::v1::AccessRule& rule, const Caller& caller,
                   absl::string_view site) {
  if (rule.public_()) return absl::OkStatus();
  switch (caller.kind) {
    case Caller::Kind::kAnonymous:
      return base::Error(absl::StatusCode::kUnauthenticated, "NOT_SIGNED_IN",
                         "the call carries no valid identity; sign in and send the token");
    case Caller::Kind::kPerson:
      for (const std::string& role : rule.roles()) {
        if (role == "anyone" || caller.HasRole(role)) return absl::OkStatus();
      }
      return base::Error(
          absl::StatusCode::kPermissionDenied, "ROLE_NEEDED",
          rule.roles().empty()
              ? "only services of the mesh may make this call"
              : absl::StrCat("this needs the role ", absl::StrJoin(rule.roles(), " or "),
                             " at this site; ask the site's operator for it"),
          {{"roles", absl::StrJoin(rule.roles(), ",")}});
    case Caller::Kind::kService:
      for (absl::string_view pattern : rule.services()) {
        std::string full(pattern);
        if (absl::ConsumePrefix(&pattern, "local/")) full = ServicePath(site, pattern);
        if (Matches(full, caller.service)) return absl::OkStatus();
      }
      return base::Error(absl::StatusCode::kPermissionDenied, "SERVICE_NOT_ALLOWED",
                         "this service may not make this call", {{"service", caller.service}});
  }
  return absl::InternalError("unknown kind of caller");
}

}  // namespace oncomesh::rpc
