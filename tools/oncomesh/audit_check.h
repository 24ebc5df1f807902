// SPDX-License-Identifier: Apache-2.0
// What a site shows of its audit log, judged. Nothing is believed but what is signed by the key of
// the log that was asked for, proved against it, and the answer to the question.
#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "libs/ledger/checkpoint.h"
#include "oncomesh/audit/v1/audit.grpc.pb.h"
#include "tools/oncomesh/session.h"

namespace oncomesh::cli {

using AuditStub = audit::v1::AuditService::Stub;

// Which log it must be, and where what was seen of it before is kept: its key, which is pinned by
// the first command that sees it, and its newest checkpoint.
struct LogName {
  std::string origin;     // "<trust domain>/audit/<site>"
  std::string seen_path;  // beside the context file
};
LogName LogOf(const Context& context, const std::string& context_path);

// Errors that every function below has: DATA_LOSS with LOG_OTHER (the site shows another log),
// LOG_KEY_CHANGED (another key than the pinned one), LOG_TRUNCATED or LOG_CHANGED (not a
// continuation of what was seen before), PROOF_INVALID; DATA_LOSS (SEEN_LOG_DAMAGED) when the file
// with what was seen cannot be read; those of opening a signed note and of the calls.

// One event: by its id, or by its number when the id is empty.
struct EventName {
  std::string id;
  int64_t index = 0;
};

struct ProvedEvent {
  audit::v1::ProveResponse shown;
  ledger::Checkpoint checkpoint;
};

// That the event which was asked for, and no other, is in the log. Also DATA_LOSS
// (PROOF_OTHER_EVENT) when the site answers with another one.
absl::StatusOr<ProvedEvent> ProveEvent(AuditStub& stub, const LogName& log, const EventName& event);

struct VerifiedLog {
  ledger::Checkpoint checkpoint;
  uint64_t earlier = 0;  // size of the checkpoint seen before; 0: none
  bool read = false;     // the events themselves were shown too
};

// Computes the root again from the hashes of all leaves, and for who may read them from the events'
// own bytes. Also DATA_LOSS (EVENT_MISSING) for an event that is not shown to who may see all.
absl::StatusOr<VerifiedLog> VerifyLog(AuditStub& stub, const LogName& log, const Session& session);

// Events as the service lists them, newest first, until `each` says no.
absl::Status ListEvents(AuditStub& stub, audit::v1::ListRequest request,
                        const std::function<bool(const audit::v1::LoggedEvent&)>& each);

}  // namespace oncomesh::cli
