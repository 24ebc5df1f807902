// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <google/protobuf/message.h>

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <string>

#include "absl/status/status.h"

namespace oncomesh::cli {

// `message` as protobuf's JSON mapping gives it (lowerCamelCase), but with 64-bit integers as
// numbers, as the program's contract says. Empty fields are left out.
nlohmann::json ToJson(const google::protobuf::Message& message);

// "2027-01-15T08:00:00Z" of Unix seconds, as JSON has times; null for 0.
nlohmann::json TimeJson(int64_t unix_seconds);

// "2027-01-15 08:00 UTC" of Unix seconds; "-" for 0.
std::string TimeText(int64_t unix_seconds);

// INVALID_ARGUMENT (TEXT_INVALID) when a text of the message is not UTF-8; gRPC would only say that
// something is wrong inside.
absl::Status CheckText(const google::protobuf::Message& message);

}  // namespace oncomesh::cli
