// SPDX-License-Identifier: Apache-2.0
// The one way into a core. Around every handler, in this order: identity → access rule → permit
// where the rule asks for one → deadline → size → core → audit event → status with its reason.
// It is a wrapper and not an interceptor because an interceptor of gRPC 1.51 cannot stop a call
// (doc/adr/0002).
#pragma once

#include <google/protobuf/message.h>
#include <grpcpp/server_context.h>

#include <functional>
#include <map>
#include <string>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "libs/rpc/caller.h"
#include "oncomesh/audit/v1/audit.pb.h"

namespace oncomesh::rpc {

// A person as the site's access service knows them.
struct Person {
  std::string subject;
  std::vector<std::string> roles;
  absl::Time expires;  // of the token
};

// Finds out who a bearer token speaks for. Any thread.
class Authenticator {
 public:
  virtual ~Authenticator() = default;
  // Errors: UNAUTHENTICATED (TOKEN_…), UNAVAILABLE when access cannot be asked.
  virtual absl::StatusOr<Person> Authenticate(absl::string_view token) = 0;
};

// Checks a permit that came with a call. Any thread.
class PermitChecker {
 public:
  virtual ~PermitChecker() = default;
  // OK when the permit is genuine, in force, names the person and allows the operation. Which
  // datasets it names is checked by the core, which knows the request.
  // Errors: PERMISSION_DENIED or UNAUTHENTICATED (PERMIT_…, EPOCH_TOO_OLD).
  virtual absl::Status Check(const Caller& caller, absl::string_view operation,
                             absl::string_view permit) = 0;
};

// What an event in the audit log says of a call. No patient value, no request content.
struct CallEvent {
  std::string type;     // "rpc.<Service>.<Method>"
  std::string actor;    // Caller::Actor()
  std::string outcome;  // "OK", the name of the status code, or "STARTED" before the core
  std::string reason;   // of the error, or empty
  std::string permit;   // compact JWS that came with the call, or empty
  CallNote note;        // of a call that succeeded
};

// The event as the log keeps it; id, time and site are the log's to add. Texts that the log would
// refuse (too long, control characters) are left out, so that no caller can keep its own call from
// being recorded.
audit::v1::Event ToAuditEvent(const CallEvent& call);

// Writes events to the site's audit log. Any thread.
class Auditor {
 public:
  virtual ~Auditor() = default;
  // OK when the event is durable. Errors: RESOURCE_EXHAUSTED (DISK_FULL) and UNAVAILABLE
  // (LOG_FAILED) when the log cannot take it, UNAVAILABLE (ACCESS_UNAVAILABLE) when it cannot be
  // reached.
  virtual absl::Status Record(const CallEvent& event) = 0;
};

// The state of a mesh connection that the guard needs; read from the gRPC context in production.
struct Peer {
  std::vector<std::string> uris;  // URI SANs of the client certificate
  std::multimap<std::string, std::string> metadata;
};

class CallGuard {
 public:
  struct Deps {
    std::string site;  // "hub" or the node's id
    std::string trust_domain;
    Authenticator* authenticator = nullptr;  // null: no person may call
    PermitChecker* permits = nullptr;        // null: a rule that needs a permit refuses
    Auditor* auditor = nullptr;              // null: the service keeps no log (tests)
    // Replaces what is read from the connection; for tests over in-process channels.
    std::function<Peer(const grpc::ServerContext&)> peer = nullptr;
  };

  explicit CallGuard(Deps deps) : deps_(std::move(deps)) {}

  // Runs `core` when the call may be made; the status carries the reason when not. `request` is the
  // request, or an empty message for streams of the client: nothing is read from somebody who may
  // not call. Any thread.
  grpc::Status Run(grpc::ServerContext* context, const char* full_method,
                   const google::protobuf::Message& request,
                   absl::FunctionRef<absl::Status(const Caller&)> core);

  // The caller of a connection. Errors: UNAUTHENTICATED (PEER_UNKNOWN, TOKEN_…).
  absl::StatusOr<Caller> Identify(const grpc::ServerContext& context);

 private:
  absl::Status Admit(grpc::ServerContext& context, const char* full_method,
                     const google::protobuf::Message& request, Caller& caller);

  Deps deps_;
};

}  // namespace oncomesh::rpc
