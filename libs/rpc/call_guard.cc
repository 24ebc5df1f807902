// SPDX-License-Identifier: Apache-2.0
#include "libs/rpc/call_guard.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <limits>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "absl/time/clock.h"
#include "libs/base/error.h"
#include "libs/base/log.h"
#include "libs/base/status_macros.h"
#include "libs/crypto/digest.h"
#include "libs/rpc/access_rules.h"
#include "libs/rpc/channel.h"
#include "libs/rpc/identity.h"
#include "libs/rpc/metrics.h"
#include "libs/rpc/status.h"

namespace oncomesh::rpc {
namespace {

constexpr size_t kMaxTokenBytes = 16 << 10;

Peer ReadPeer(const grpc::ServerContext& context) {
  Peer peer;
  for (const grpc::string_ref& uri : context.auth_context()->FindPropertyValues("peer_uri")) {
    peer.uris.emplace_back(uri.data(), uri.size());
  }
  for (const auto& [key, value] : context.client_metadata()) {
    // Only what the guard reads is copied.
    if (key == "authorization" || key == kCallerKey || key == kPermitKey) {
      peer.metadata.emplace(std::string(key.data(), key.size()),
                            std::string(value.data(), value.size()));
    }
  }
  return peer;
}

absl::Status Unauthenticated(absl::string_view reason, absl::string_view message) {
  return base::Error(absl::StatusCode::kUnauthenticated, reason, message);
}

// The only value of `key`; an error when it stands twice, empty when it is absent.
absl::StatusOr<std::string> Single(const Peer& peer, const char* key) {
  auto range = peer.metadata.equal_range(key);
  if (range.first == range.second) return std::string();
  if (std::next(range.first) != range.second) {
    return Unauthenticated("METADATA_AMBIGUOUS",
                           absl::StrCat("the call carries two ", key, " values"));
  }
  return range.first->second;
}

// "CatalogueService.Search" of "/oncomesh.catalogue.v1.CatalogueService/Search".
std::string ShortName(absl::string_view full_method) {
  size_t slash = full_method.rfind('/');
  size_t dot = full_method.rfind('.', slash);
  return absl::StrCat(full_method.substr(dot + 1, slash - dot - 1), ".",
                      full_method.substr(slash + 1));
}

// The value of a field of the request as an event shows it; empty for what it may not show.
std::string AuditText(const google::protobuf::Message& request, const std::string& name) {
  const google::protobuf::FieldDescriptor* field = request.GetDescriptor()->FindFieldByName(name);
  if (field == nullptr || field->is_repeated()) return "";
  const google::protobuf::Reflection& reflection = *request.GetReflection();
  switch (field->cpp_type()) {
    case google::protobuf::FieldDescriptor::CPPTYPE_STRING:
      return reflection.GetString(request, field);
    case google::protobuf::FieldDescriptor::CPPTYPE_BOOL:
      return reflection.GetBool(request, field) ? "true" : "false";
    case google::protobuf::FieldDescriptor::CPPTYPE_INT32:
      return absl::StrCat(reflection.GetInt32(request, field));
    case google::protobuf::FieldDescriptor::CPPTYPE_INT64:
      return absl::StrCat(reflection.GetInt64(request, field));
    case google::protobuf::FieldDescriptor::CPPTYPE_ENUM:
      return reflection.GetEnum(request, field)->name();
    default:
      return "";
  }
}

// Whether the log takes it (doc/formats/log.md): at most 512 bytes, no control characters.
bool IsAuditText(absl::string_view text) {
  return text.size() <= 512 && std::all_of(text.begin(), text.end(), [](char c) {
           return static_cast<unsigned char>(c) >= 0x20 && c != 0x7f;
         });
}

// Adds what the rule asks for; what the core noted itself stays.
void AddFromRequest(const options::v1::AccessRule& rule, const google::protobuf::Message& request,
                    CallNote& note) {
  if (note.object.empty() && !rule.audit_object().empty()) {
    note.object = AuditText(request, rule.audit_object());
  }
  for (const std::string& name : rule.audit_attributes()) {
    std::string value = AuditText(request, name);
    if (!value.empty()) note.attributes.emplace(name, std::move(value));
  }
}

// One line in ten seconds, with the number of refusals since the one before.
void LogStranger(const char* full_method, const absl::Status& status) {
  static std::atomic<int64_t> unsaid{0};
  static std::atomic<int64_t> quiet_until{std::numeric_limits<int64_t>::min()};
  const int64_t now = std::chrono::duration_cast<std::chrono::seconds>(
                          std::chrono::steady_clock::now().time_since_epoch())
                          .count();
  ++unsaid;
  int64_t until = quiet_until.load();
  if (now < until || !quiet_until.compare_exchange_strong(until, now + 10)) return;
  base::Log(base::Level::kInfo, "strangers.refused",
            {{"calls", unsaid.exchange(0)},
             {"method", full_method},
             {"code", absl::StatusCodeToString(status.code())},
             {"reason", base::ReasonOf(status)}});
}

}  // namespace

audit::v1::Event ToAuditEvent(const CallEvent& call) {
  audit::v1::Event event;
  event.set_actor(call.actor);
  event.set_type(call.type);
  event.set_outcome(call.outcome);
  event.set_reason(call.reason);
  if (IsAuditText(call.note.object)) event.set_object(call.note.object);
  if (!call.permit.empty()) event.set_permit_sha256(crypto::Sha256Hex(call.permit));
  for (const auto& [name, value] : call.note.attributes) {
    if (IsAuditText(value)) (*event.mutable_attributes())[name] = value;
  }
  return event;
}

absl::StatusOr<Caller> CallGuard::Identify(const grpc::ServerContext& context) {
  Peer peer = deps_.peer ? deps_.peer(context) : ReadPeer(context);
  // Two names in one certificate would let its holder choose; gRPC shows only the first as
  // identity.
  if (peer.uris.size() != 1) {
    return Unauthenticated("PEER_UNKNOWN", "the client certificate must have exactly one URI name");
  }
  std::string path = PathOfUri(peer.uris[0], deps_.trust_domain);
  if (path.empty()) {
    return Unauthenticated("PEER_UNKNOWN", "the client certificate is of another trust domain");
  }
  Caller caller;
  ASSIGN_OR_RETURN(caller.permit, Single(peer, kPermitKey));
  if (caller.permit.size() > kMaxTokenBytes) {
    return Unauthenticated("PERMIT_MALFORMED", "the permit is larger than 16 KiB");
  }
  if (path != ServicePath(deps_.site, "relay")) {
    caller.kind = Caller::Kind::kService;
    caller.service = path;
    caller.node = NodeOfPath(path);
    return caller;
  }
  // The site's own relay speaks for others: for a service, whose name only relays can set, or for a
  // person, who brings a token.
  ASSIGN_OR_RETURN(std::string service, Single(peer, kCallerKey));
  if (!service.empty()) {
    if (PathOfUri(absl::StrCat("spiffe://", deps_.trust_domain, "/", service), deps_.trust_domain)
            .empty()) {
      return Unauthenticated("PEER_UNKNOWN", "the relay named a caller that is no service");
    }
    caller.kind = Caller::Kind::kService;
    caller.service = service;
    caller.node = NodeOfPath(service);
    return caller;
  }
  ASSIGN_OR_RETURN(std::string authorization, Single(peer, "authorization"));
  if (authorization.empty()) return caller;  // anonymous
  absl::string_view token = authorization;
  if (!absl::StartsWithIgnoreCase(token, "bearer ") || token.size() > kMaxTokenBytes) {
    return Unauthenticated("TOKEN_MALFORMED",
                           "authorization must be 'Bearer <token>', at most 16 KiB");
  }
  token.remove_prefix(7);
  if (deps_.authenticator == nullptr) {
    return Unauthenticated("NOT_SIGNED_IN", "this service takes no calls from people");
  }
  ASSIGN_OR_RETURN(Person person, deps_.authenticator->Authenticate(token));
  caller.kind = Caller::Kind::kPerson;
  caller.subject = std::move(person.subject);
  caller.roles = std::move(person.roles);
  return caller;
}

absl::Status CallGuard::Admit(grpc::ServerContext& context, const char* full_method,
                              const google::protobuf::Message& request, Caller& caller) {
  const options::v1::AccessRule* rule = FindAccessRule(full_method);
  if (rule == nullptr) {
    return base::Error(absl::StatusCode::kPermissionDenied, "ACCESS_RULE_MISSING",
                       "this call has no access rule, so nobody may make it");
  }
  absl::StatusOr<Caller> identified = Identify(context);
  if (!identified.ok()) {
    // A public call needs no identity, so a bad one does not stop it.
    if (!rule->public_()) return identified.status();
  } else {
    caller = *std::move(identified);
  }
  RETURN_IF_ERROR(Allow(*rule, caller, deps_.site));
  if (!rule->permit_operation().empty()) {
    if (caller.permit.empty()) {
      return base::Error(absl::StatusCode::kPermissionDenied, "PERMIT_NEEDED",
                         "this needs a permit; ask for access and send the permit with the call",
                         {{"operation", rule->permit_operation()}});
    }
    if (deps_.permits == nullptr) {
      return base::Error(absl::StatusCode::kPermissionDenied, "PERMIT_NEEDED",
                         "permits cannot be checked at this service");
    }
    RETURN_IF_ERROR(deps_.permits->Check(caller, rule->permit_operation(), caller.permit));
  }
  if (context.deadline() == std::chrono::system_clock::time_point::max()) {
    return base::Error(absl::StatusCode::kInvalidArgument, "DEADLINE_NEEDED",
                       "every call must carry a deadline");
  }
  if (request.ByteSizeLong() > static_cast<size_t>(kMaxMessageBytes)) {
    return base::Error(absl::StatusCode::kInvalidArgument, "REQUEST_TOO_LARGE",
                       "the request is larger than 4 MiB; use the streaming call");
  }
  return absl::OkStatus();
}

grpc::Status CallGuard::Run(grpc::ServerContext* context, const char* full_method,
                            const google::protobuf::Message& request,
                            absl::FunctionRef<absl::Status(const Caller&)> core) {
  absl::Time started = absl::Now();
  Caller caller;
  absl::Status status = Admit(*context, full_method, request, caller);
  bool admitted = status.ok();
  const options::v1::AccessRule* rule = FindAccessRule(full_method);
  const bool audited = rule != nullptr && rule->audit() && deps_.auditor != nullptr;
  CallEvent event;
  if (audited) {
    event.type = absl::StrCat("rpc.", ShortName(full_method));
    event.actor = caller.Actor();
    event.permit = caller.permit;
    caller.note = &event.note;
  }
  if (base::LogsAt(base::Level::kDebug)) {
    base::Log(base::Level::kDebug, "call.begin",
              {{"method", full_method},
               {"actor", caller.kind == Caller::Kind::kPerson ? "person" : caller.Actor()},
               {"admitted", admitted},
               {"request", request}});
  }
  if (admitted && audited && rule->audit_first()) {
    event.outcome = "STARTED";
    status = deps_.auditor->Record(event);
    if (!status.ok()) base::LogError("audit.failed", status, {{"method", full_method}});
  }
  if (status.ok()) status = core(caller);
  const bool stranger = caller.kind == Caller::Kind::kAnonymous && !status.ok();
  if (audited && !stranger) {
    event.outcome = absl::StatusCodeToString(status.code());
    if (status.ok()) {
      AddFromRequest(*rule, request, event.note);
    } else {
      event.reason = base::ReasonOf(status);
      event.note = {};
    }
    absl::Status recorded = deps_.auditor->Record(event);
    // What cannot be recorded must not succeed in silence.
    if (!recorded.ok()) {
      base::LogError("audit.failed", recorded, {{"method", full_method}});
      if (status.ok()) status = recorded;
    }
  }
  RecordCall(full_method, status.code(), absl::Now() - started);
  if (stranger) {
    // Anybody can be refused as often as they like: that is counted, and neither a line of the log
    // each time nor an entry that is kept for ever.
    RecordStranger(full_method);
    LogStranger(full_method, status);
  } else if (!status.ok()) {
    base::Log(admitted ? base::Level::kWarning : base::Level::kInfo,
              admitted ? "call.failed" : "call.refused",
              {{"method", full_method},
               {"code", absl::StatusCodeToString(status.code())},
               {"reason", base::ReasonOf(status)}});
  }
  return ToGrpc(status);
}

}  // namespace oncomesh::rpc
