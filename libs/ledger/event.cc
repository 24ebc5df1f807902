// SPDX-License-Identifier: Apache-2.0
#include "libs/ledger/event.h"

#include <nlohmann/json.hpp>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/time/time.h"
#include "libs/base/error.h"
#include "libs/base/status_macros.h"
#include "libs/crypto/jws.h"

namespace oncomesh::ledger {
namespace {

using audit::v1::Event;
using nlohmann::json;

constexpr int kVersion = 1;
constexpr size_t kMaxText = 512, kMaxId = 64, kMaxAttributes = 16, kMaxName = 64;
constexpr int64_t kLastSecond = 253402300799;  // 9999-12-31T23:59:59Z

absl::Status Invalid(absl::string_view field, absl::string_view what) {
  return base::Error(absl::StatusCode::kInvalidArgument, "EVENT_INVALID",
                     absl::StrCat("the event's ", field, " ", what),
                     {{"field", std::string(field)}});
}

template <typename Allowed>
bool AllOf(absl::string_view text, Allowed allowed) {
  for (char c : text) {
    if (!allowed(c)) return false;
  }
  return true;
}

// UTF-8 is checked when the JSON is printed.
absl::Status CheckText(absl::string_view field, absl::string_view text) {
  if (text.size() > kMaxText) return Invalid(field, "has more than 512 bytes");
  if (!AllOf(text, [](char c) { return static_cast<unsigned char>(c) >= 0x20 && c != 0x7f; })) {
    return Invalid(field, "holds a control character");
  }
  return absl::OkStatus();
}

bool IsLowerHex(char c) { return absl::ascii_isdigit(c) || (c >= 'a' && c <= 'f'); }

absl::Status Check(const Event& event) {
  for (auto [field, text] : {std::pair<const char*, const std::string*>{"site", &event.site()},
                             {"actor", &event.actor()},
                             {"object", &event.object()}}) {
    RETURN_IF_ERROR(CheckText(field, *text));
  }
  if (event.site().empty()) return Invalid("site", "is empty");
  if (event.actor().empty()) return Invalid("actor", "is empty");
  const std::string& id = event.event_id();
  if (id.empty() || id.size() > kMaxId || !AllOf(id, [](char c) {
        return absl::ascii_isalnum(c) || c == '.' || c == '_' || c == '-';
      })) {
    return Invalid("event_id", "needs 1 to 64 of A-Z a-z 0-9 . _ -");
  }
  const std::string& type = event.type();
  if (type.empty() || type.size() > 128 ||
      !AllOf(type, [](char c) { return absl::ascii_isalnum(c) || c == '.' || c == '_'; })) {
    return Invalid("type", "needs 1 to 128 letters, digits, dots or underscores");
  }
  auto upper = [](char c) { return absl::ascii_isupper(c) || absl::ascii_isdigit(c) || c == '_'; };
  if (event.outcome().empty() || event.outcome().size() > kMaxName ||
      !AllOf(event.outcome(), upper)) {
    return Invalid("outcome", "is OK or the name of a status code");
  }
  if (event.reason().size() > kMaxName || !AllOf(event.reason(), upper)) {
    return Invalid("reason", "is a word in UPPER_SNAKE_CASE");
  }
  if (!event.permit_sha256().empty() &&
      (event.permit_sha256().size() != 64 || !AllOf(event.permit_sha256(), IsLowerHex))) {
    return Invalid("permit_sha256", "needs 64 lower-case hexadecimal digits");
  }
  if (event.attributes().size() > kMaxAttributes) return Invalid("attributes", "are more than 16");
  for (const auto& [name, value] : event.attributes()) {
    if (name.empty() || name.size() > kMaxName || !AllOf(name, [](char c) {
          return absl::ascii_islower(c) || absl::ascii_isdigit(c) || c == '_' || c == '.';
        })) {
      return Invalid("attributes", "have a name of other characters than a-z 0-9 _ .");
    }
    RETURN_IF_ERROR(CheckText("attributes", value));
  }
  const auto& time = event.time();
  if (time.seconds() < 0 || time.seconds() > kLastSecond || time.nanos() < 0 ||
      time.nanos() > 999'999'999) {
    return Invalid("time", "is not between the years 1970 and 9999");
  }
  return absl::OkStatus();
}

std::string PrintTime(const google::protobuf::Timestamp& time) {
  const absl::CivilSecond civil =
      absl::ToCivilSecond(absl::FromUnixSeconds(time.seconds()), absl::UTCTimeZone());
  return absl::StrFormat("%04d-%02d-%02dT%02d:%02d:%02d.%06dZ", civil.year(), civil.month(),
                         civil.day(), civil.hour(), civil.minute(), civil.second(),
                         time.nanos() / 1000);
}

bool ParseTime(const std::string& text, google::protobuf::Timestamp& out) {
  absl::Time time;
  std::string error;
  if (text.size() != 27 || !absl::ParseTime(absl::RFC3339_full, text, &time, &error)) return false;
  out.set_seconds(absl::ToUnixSeconds(time));
  out.set_nanos(static_cast<int32_t>(
      absl::ToInt64Nanoseconds(time - absl::FromUnixSeconds(absl::ToUnixSeconds(time)))));
  return true;
}

}  // namespace

absl::StatusOr<std::string> CanonicalEvent(const Event& event) {
  RETURN_IF_ERROR(Check(event));
  // nlohmann's object is an ordered map, and its dump() escapes what RFC 8785 §3.2.2.2 escapes.
  json attributes = json::object();
  for (const auto& [name, value] : event.attributes()) attributes[name] = value;
  const json document = {{"actor", event.actor()},
                         {"attributes", std::move(attributes)},
                         {"event_id", event.event_id()},
                         {"object", event.object()},
                         {"outcome", event.outcome()},
                         {"permit_sha256", event.permit_sha256()},
                         {"reason", event.reason()},
                         {"site", event.site()},
                         {"time", PrintTime(event.time())},
                         {"type", event.type()},
                         {"v", kVersion}};
  std::string out;
  try {
    out = document.dump();
  } catch (const json::exception&) {
    return Invalid("text", "is not UTF-8");
  }
  return out;
}

absl::StatusOr<Event> ParseEvent(absl::string_view leaf) {
  ASSIGN_OR_RETURN(json document, crypto::ParseStrictJson(leaf));
  if (!document.is_object()) return Invalid("text", "is not a JSON object");
  auto text = [&](const char* name) {
    auto member = document.find(name);
    return member != document.end() && member->is_string() ? member->get<std::string>() : "";
  };
  Event out;
  out.set_actor(text("actor"));
  out.set_event_id(text("event_id"));
  out.set_object(text("object"));
  out.set_outcome(text("outcome"));
  out.set_permit_sha256(text("permit_sha256"));
  out.set_reason(text("reason"));
  out.set_site(text("site"));
  out.set_type(text("type"));
  if (!ParseTime(text("time"), *out.mutable_time())) return Invalid("time", "cannot be read");
  if (document.contains("attributes") && document["attributes"].is_object()) {
    for (const auto& [name, value] : document["attributes"].items()) {
      if (value.is_string()) (*out.mutable_attributes())[name] = value.get<std::string>();
    }
  }
  // Whatever was left out, added, misspelt or put elsewhere shows here.
  ASSIGN_OR_RETURN(std::string again, CanonicalEvent(out));
  if (again != leaf) return Invalid("text", "is not in its canonical form");
  return out;
}

}  // namespace oncomesh::ledger
