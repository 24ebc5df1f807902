// SPDX-License-Identifier: Apache-2.0
// Events of the audit log and their canonical bytes, the ones that are hashed
// (doc/formats/log.md). Pure functions, any thread.
#pragma once

#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "oncomesh/audit/v1/audit.pb.h"

namespace oncomesh::ledger {

// JSON without white space: every member, in the order of their names, strings escaped as RFC 8785
// escapes them, time in UTC with microseconds. One event has one spelling.
// Errors: INVALID_ARGUMENT (EVENT_INVALID) naming the field (metadata "field").
absl::StatusOr<std::string> CanonicalEvent(const audit::v1::Event& event);

// Reads what CanonicalEvent wrote and nothing else: an event whose canonical bytes are others is
// refused. Errors: INVALID_ARGUMENT (EVENT_INVALID).
absl::StatusOr<audit::v1::Event> ParseEvent(absl::string_view leaf);

}  // namespace oncomesh::ledger
