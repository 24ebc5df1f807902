// SPDX-License-Identifier: Apache-2.0
#include "tools/oncomesh/proto_json.h"

#include <google/protobuf/util/json_util.h>

#include <cstdlib>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "google/protobuf/descriptor.h"
#include "libs/base/error.h"
#include "libs/base/status_macros.h"

namespace oncomesh::cli {
namespace {

using google::protobuf::Descriptor;
using google::protobuf::FieldDescriptor;

bool Is64(const FieldDescriptor& field) {
  return field.cpp_type() == FieldDescriptor::CPPTYPE_INT64 ||
         field.cpp_type() == FieldDescriptor::CPPTYPE_UINT64;
}

// protobuf prints 64-bit integers as strings; here they become numbers again.
nlohmann::json Number(const nlohmann::json& value) {
  if (!value.is_string()) return value;
  const std::string& text = value.get_ref<const std::string&>();
  if (!text.empty() && text[0] == '-') return std::strtoll(text.c_str(), nullptr, 10);
  return std::strtoull(text.c_str(), nullptr, 10);
}

void Fix(nlohmann::json& json, const Descriptor& type) {
  if (!json.is_object()) return;  // a well-known type: a time, a duration
  for (auto& [key, value] : json.items()) {
    const FieldDescriptor* field = type.FindFieldByCamelcaseName(key);
    if (field == nullptr) continue;
    if (field->is_map()) {
      const FieldDescriptor* mapped = field->message_type()->FindFieldByNumber(2);
      for (auto& [name, entry] : value.items()) {
        if (Is64(*mapped)) entry = Number(entry);
        if (mapped->message_type() != nullptr) Fix(entry, *mapped->message_type());
      }
    } else if (field->is_repeated()) {
      for (auto& entry : value) {
        if (Is64(*field)) entry = Number(entry);
        if (field->message_type() != nullptr) Fix(entry, *field->message_type());
      }
    } else if (Is64(*field)) {
      value = Number(value);
    } else if (field->message_type() != nullptr) {
      Fix(value, *field->message_type());
    }
  }
}

}  // namespace

nlohmann::json ToJson(const google::protobuf::Message& message) {
  std::string text;
  if (!google::protobuf::util::MessageToJsonString(message, &text).ok()) return nullptr;
  nlohmann::json json = nlohmann::json::parse(text, nullptr, false);
  Fix(json, *message.GetDescriptor());
  return json;
}

nlohmann::json TimeJson(int64_t unix_seconds) {
  if (unix_seconds == 0) return nullptr;
  return absl::FormatTime("%Y-%m-%dT%H:%M:%SZ", absl::FromUnixSeconds(unix_seconds),
                          absl::UTCTimeZone());
}

absl::Status CheckText(const google::protobuf::Message& message) {
  const google::protobuf::Reflection& reflection = *message.GetReflection();
  std::vector<const FieldDescriptor*> fields;
  reflection.ListFields(message, &fields);
  for (const FieldDescriptor* field : fields) {
    const int count = field->is_repeated() ? reflection.FieldSize(message, field) : 1;
    for (int i = 0; i < count; ++i) {
      if (field->cpp_type() == FieldDescriptor::CPPTYPE_MESSAGE) {
        RETURN_IF_ERROR(CheckText(field->is_repeated()
                                      ? reflection.GetRepeatedMessage(message, field, i)
                                      : reflection.GetMessage(message, field)));
      } else if (field->type() == FieldDescriptor::TYPE_STRING) {
        const std::string text = field->is_repeated()
                                     ? reflection.GetRepeatedString(message, field, i)
                                     : reflection.GetString(message, field);
        const std::string kept =
            nlohmann::json(text).dump(-1, ' ', false, nlohmann::json::error_handler_t::ignore);
        if (nlohmann::json::parse(kept) != text) {
          return base::Error(absl::StatusCode::kInvalidArgument, "TEXT_INVALID",
                             absl::StrCat(field->json_name(), " must be text in UTF-8"));
        }
      }
    }
  }
  return absl::OkStatus();
}

std::string TimeText(int64_t unix_seconds) {
  if (unix_seconds == 0) return "-";
  return absl::FormatTime("%Y-%m-%d %H:%M UTC", absl::FromUnixSeconds(unix_seconds),
                          absl::UTCTimeZone());
}

}  // namespace oncomesh::cli
