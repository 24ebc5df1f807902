// SPDX-License-Identifier: Apache-2.0
// The site's audit log as the guard and the AuditService use it.
#pragma once

#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "libs/base/clock.h"
#include "libs/ledger/event_log.h"
#include "libs/rpc/call_guard.h"
#include "oncomesh/audit/v1/audit.pb.h"

namespace oncomesh::access {

// Any thread.
class AuditLog final : public rpc::Auditor {
 public:
  // The log is in `<state_dir>/log`; its Ed25519 key, `<state_dir>/log.key`, is made at the first
  // start. Errors: those of ledger::Log::Open.
  static absl::StatusOr<std::unique_ptr<AuditLog>> Open(const std::string& state_dir,
                                                        const std::string& trust_domain,
                                                        const std::string& site,
                                                        base::Clock& clock);

  absl::Status Record(const rpc::CallEvent& event) override;

  // Who is neither an auditor nor, at a node, its holder sees only what they did themselves.
  absl::StatusOr<audit::v1::ListResponse> List(const rpc::Caller& caller,
                                               audit::v1::ListRequest request) const;

  ledger::EventLog& events() { return *events_; }

 private:
  AuditLog(std::string site, std::unique_ptr<ledger::EventLog> events)
      : site_(std::move(site)), events_(std::move(events)) {}
  const std::string site_;
  const std::unique_ptr<ledger::EventLog> events_;
};

}  // namespace oncomesh::access
