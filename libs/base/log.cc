// SPDX-License-Identifier: Apache-2.0
#include "libs/base/log.h"

#include <unistd.h>

#include <atomic>
#include <cmath>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "google/protobuf/descriptor.h"
#include "libs/base/error.h"
#include "libs/base/mutex.h"
#include "oncomesh/options/v1/options.pb.h"

namespace oncomesh::base {
namespace {

struct LogState {
  Mutex mutex;
  std::string identity ABSL_GUARDED_BY(mutex);
  std::function<void(const std::string&)> sink ABSL_GUARDED_BY(mutex);
  std::atomic<Level> level{Level::kInfo};
};

LogState& State() {
  static auto* state = new LogState;
  return *state;
}

const char* Name(Level level) {
  switch (level) {
    case Level::kDebug:
      return "DEBUG";
    case Level::kInfo:
      return "INFO";
    case Level::kWarning:
      return "WARNING";
    case Level::kError:
      return "ERROR";
  }
  return "INFO";
}

void Write(Level level, absl::string_view event, const std::string& fields) {
  LogState& state = State();
  if (level < state.level.load()) return;
  std::string line = absl::StrCat(
      "{\"time\":\"", absl::FormatTime("%Y-%m-%dT%H:%M:%E3SZ", absl::Now(), absl::UTCTimeZone()),
      "\",\"level\":\"", Name(level), "\"");
  MutexLock lock(state.mutex);
  absl::StrAppend(&line, state.identity, ",\"event\":", JsonQuoted(event), fields, "}\n");
  if (state.sink) {
    state.sink(line);
    return;
  }
  ssize_t ignored = write(STDERR_FILENO, line.data(), line.size());
  (void)ignored;  // a full or closed stderr must not stop a service
}

std::string Joined(LogFields fields) {
  std::string out;
  for (const auto& [key, value] : fields) {
    absl::StrAppend(&out, ",", JsonQuoted(key), ":", value.json());
  }
  return out;
}

}  // namespace

LogValue::LogValue(absl::string_view text) : json_(JsonQuoted(text)) {}
LogValue::LogValue(double value)
    : json_(std::isfinite(value) ? absl::StrFormat("%.17g", value) : "null") {}

std::string JsonQuoted(absl::string_view text) {
  std::string out = "\"";
  size_t i = 0;
  while (i < text.size()) {
    unsigned char c = static_cast<unsigned char>(text[i]);
    if (c == '"' || c == '\\') {
      out.push_back('\\');
      out.push_back(static_cast<char>(c));
      ++i;
    } else if (c < 0x20 || c == 0x7f) {
      absl::StrAppendFormat(&out, "\\u%04x", c);
      ++i;
    } else if (c < 0x80) {
      out.push_back(static_cast<char>(c));
      ++i;
    } else {
      // Well-formed UTF-8 passes (RFC 3629), anything else becomes U+FFFD.
      size_t length = c >= 0xf0 && c <= 0xf4  ? 4
                      : c >= 0xe0 && c < 0xf0 ? 3
                      : c >= 0xc2 && c < 0xe0 ? 2
                                              : 0;
      bool good = length != 0 && i + length <= text.size();
      for (size_t k = 1; good && k < length; ++k) {
        good = (static_cast<unsigned char>(text[i + k]) & 0xc0) == 0x80;
      }
      if (good && length >= 3) {
        unsigned char next = static_cast<unsigned char>(text[i + 1]);
        good = !(c == 0xe0 && next < 0xa0) && !(c == 0xed && next > 0x9f) &&
               !(c == 0xf0 && next < 0x90) && !(c == 0xf4 && next > 0x8f);
      }
      if (good) {
        out.append(text.data() + i, length);
        i += length;
      } else {
        out += "\xef\xbf\xbd";
        ++i;
      }
    }
  }
  out.push_back('"');
  return out;
}

void Log(Level level, absl::string_view event, LogFields fields) {
  if (level < State().level.load()) return;
  Write(level, event, Joined(fields));
}

void LogError(absl::string_view event, const absl::Status& status, LogFields fields) {
  Write(Level::kError, event,
        absl::StrCat(",\"code\":", JsonQuoted(absl::StatusCodeToString(status.code())),
                     ",\"reason\":", JsonQuoted(ReasonOf(status)),
                     ",\"message\":", JsonQuoted(status.message()), Joined(fields)));
}

void SetLogService(absl::string_view service, absl::string_view site) {
  MutexLock lock(State().mutex);
  State().identity =
      absl::StrCat(",\"service\":", JsonQuoted(service), ",\"site\":", JsonQuoted(site));
}

void SetLogLevel(Level level) { State().level = level; }

bool LogsAt(Level level) { return level >= State().level.load(); }

LogValue::LogValue(const google::protobuf::Message& message) : json_(Masked(message)) {}

void SetLogSink(std::function<void(const std::string&)> sink) {
  MutexLock lock(State().mutex);
  State().sink = std::move(sink);
}

std::string Masked(const google::protobuf::Message& message) {
  using google::protobuf::FieldDescriptor;
  const auto* reflection = message.GetReflection();
  std::vector<const FieldDescriptor*> fields;
  reflection->ListFields(message, &fields);
  std::string out = "{";
  for (const FieldDescriptor* field : fields) {
    if (out.size() > 1) out.push_back(',');
    absl::StrAppend(&out, JsonQuoted(field->json_name()), ":");
    bool shown =
        field->options().GetExtension(options::v1::sensitivity) == options::v1::SENSITIVITY_PUBLIC;
    if (!shown) {
      out += "\"***\"";
    } else if (field->is_repeated()) {
      absl::StrAppend(&out, reflection->FieldSize(message, field));
    } else {
      switch (field->cpp_type()) {
        case FieldDescriptor::CPPTYPE_MESSAGE:
          out += Masked(reflection->GetMessage(message, field));
          break;
        case FieldDescriptor::CPPTYPE_STRING:
          out += JsonQuoted(reflection->GetString(message, field));
          break;
        case FieldDescriptor::CPPTYPE_ENUM:
          out += JsonQuoted(reflection->GetEnum(message, field)->name());
          break;
        case FieldDescriptor::CPPTYPE_BOOL:
          out += reflection->GetBool(message, field) ? "true" : "false";
          break;
        case FieldDescriptor::CPPTYPE_INT32:
          absl::StrAppend(&out, reflection->GetInt32(message, field));
          break;
        case FieldDescriptor::CPPTYPE_INT64:
          absl::StrAppend(&out, reflection->GetInt64(message, field));
          break;
        case FieldDescriptor::CPPTYPE_UINT32:
          absl::StrAppend(&out, reflection->GetUInt32(message, field));
          break;
        case FieldDescriptor::CPPTYPE_UINT64:
          absl::StrAppend(&out, reflection->GetUInt64(message, field));
          break;
        case FieldDescriptor::CPPTYPE_DOUBLE:
          out += LogValue(reflection->GetDouble(message, field)).json();
          break;
        case FieldDescriptor::CPPTYPE_FLOAT:
          out += LogValue(static_cast<double>(reflection->GetFloat(message, field))).json();
          break;
      }
    }
  }
  out.push_back('}');
  return out;
}

}  // namespace oncomesh::base
