// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <google/protobuf/message.h>

#include <nlohmann/json_fwd.hpp>
#include <string>

namespace oncomesh::cli {

// `message` as protobuf's JSON mapping gives it (lowerCamelCase), but with 64-bit integers as
// numbers, as the program's contract says. Empty fields are left out.
nlohmann::json ToJson(const google::protobuf::Message& message);

// "2027-01-15 08:00 UTC" of Unix seconds; "-" for 0.
std::string TimeText(int64_t unix_seconds);

}  // namespace oncomesh::cli
