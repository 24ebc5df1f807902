// SPDX-License-Identifier: Apache-2.0
#include "services/access/audit_log.h"

#include <utility>

#include "libs/base/files.h"
#include "libs/base/status_macros.h"
#include "libs/crypto/keys.h"

namespace oncomesh::access {

absl::StatusOr<std::unique_ptr<AuditLog>> AuditLog::Open(const std::string& state_dir,
                                                         const std::string& trust_domain,
                                                         const std::string& site,
                                                         base::Clock& clock) {
  RETURN_IF_ERROR(base::MakeDirectories(state_dir + "/log", 0700));
  ASSIGN_OR_RETURN(crypto::PrivateKey key, crypto::PrivateKey::LoadOrGenerate(
                                               state_dir + "/log.key", crypto::KeyType::kEd25519));
  ASSIGN_OR_RETURN(std::unique_ptr<ledger::EventLog> events,
                   ledger::EventLog::Open({.folder = state_dir + "/log",
                                           .site = site,
                                           .trust_domain = trust_domain,
                                           .key = std::move(key),
                                           .clock = &clock}));
  return std::unique_ptr<AuditLog>(new AuditLog(site, std::move(events)));
}

absl::Status AuditLog::Record(const rpc::CallEvent& call) {
  return events_->Record(rpc::ToAuditEvent(call)).status();
}

absl::StatusOr<audit::v1::ListResponse> AuditLog::List(const rpc::Caller& caller,
                                                       audit::v1::ListRequest request) const {
  const bool all = caller.kind == rpc::Caller::Kind::kService || caller.HasRole("auditor") ||
                   (caller.HasRole("holder") && site_ != "hub");
  if (!all) request.set_actor(caller.Actor());
  return events_->List(request);
}

}  // namespace oncomesh::access
