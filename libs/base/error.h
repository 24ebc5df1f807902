// SPDX-License-Identifier: Apache-2.0
// Errors that carry a reason. Every error a person or a program can meet has one: a short stable
// word in UPPER_SNAKE_CASE that scripts may compare, beside a message that says what to do next.
// libs/rpc turns it into google.rpc.ErrorInfo and back. A message never holds a value that came
// from a patient's file, nor a secret.
#pragma once

#include <map>
#include <string>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"

namespace oncomesh::base {

// The payload type under which the reason travels inside an absl::Status (google.rpc.ErrorInfo).
inline constexpr char kErrorInfoUrl[] = "type.googleapis.com/google.rpc.ErrorInfo";

struct ErrorInfo {
  std::string reason;                           // UPPER_SNAKE_CASE, at most 63 characters
  std::string domain;                           // the area, e.g. "access.oncomesh"
  std::map<std::string, std::string> metadata;  // every changing part of the message, by name
};

// An error of `code` with `reason`; `message` says what happened and what to do.
absl::Status Error(absl::StatusCode code, absl::string_view reason, absl::string_view message,
                   std::map<std::string, std::string> metadata = {},
                   absl::string_view domain = "oncomesh");

// The ErrorInfo carried by `status`; an empty reason when it carries none.
ErrorInfo ErrorInfoOf(const absl::Status& status);

// The reason, or the name of the status code when there is none ("NOT_FOUND").
std::string ReasonOf(const absl::Status& status);

// The same error with `prefix` put before its message; code and payloads stay.
absl::Status Annotate(const absl::Status& status, absl::string_view prefix);

}  // namespace oncomesh::base
