// SPDX-License-Identifier: Apache-2.0
// One JSON line per event on stderr, for programs to read:
//   {"time":"2027-01-15T08:00:00.000Z","level":"INFO","service":"catalogue","event":"index.updated","studies":12}
// Values are counts, names and reasons of the product's own. Never a value, a name or a path that
// came from a patient's file. Whole messages go through Masked(), which shows PUBLIC fields only.
#pragma once

#include <cstdint>
#include <functional>
#include <initializer_list>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "google/protobuf/message.h"

namespace oncomesh::base {

enum class Level { kDebug, kInfo, kWarning, kError };

// One value of an event: a string, a number or a truth value.
class LogValue {
 public:
  LogValue(absl::string_view text);  // NOLINT(google-explicit-constructor)
  LogValue(const char* text) : LogValue(absl::string_view(text)) {}         // NOLINT
  LogValue(const std::string& text) : LogValue(absl::string_view(text)) {}  // NOLINT
  LogValue(bool value) : json_(value ? "true" : "false") {}                 // NOLINT
  LogValue(double value);                                                   // NOLINT
  template <typename T, typename = std::enable_if_t<std::is_integral_v<T>>>
  LogValue(T value) : json_(std::to_string(value)) {}  // NOLINT
  LogValue(const google::protobuf::Message& message);  // NOLINT: as Masked() shows it
  const std::string& json() const { return json_; }

 private:
  std::string json_;
};

using LogFields = std::initializer_list<std::pair<absl::string_view, LogValue>>;

// Any thread may call it; a line is written with one write(2).
void Log(Level level, absl::string_view event, LogFields fields = {});
// The same with the reason and code of `status`; its message too, which never holds patient values.
void LogError(absl::string_view event, const absl::Status& status, LogFields fields = {});

// Names the process in every line. Called once, in main.
void SetLogService(absl::string_view service, absl::string_view site);
// Lines below `level` are dropped. Default: kInfo.
void SetLogLevel(Level level);
// Whether lines of `level` are written: for what is costly to put together.
bool LogsAt(Level level);
// Sends the lines elsewhere (tests). nullptr: back to stderr.
void SetLogSink(std::function<void(const std::string& line)> sink);

// The JSON of `message` with every field masked that is not marked SENSITIVITY_PUBLIC; a masked
// field shows as "***" (or its number of elements), never as a prefix or a length.
std::string Masked(const google::protobuf::Message& message);

// `text` as a JSON string with its quotes; invalid UTF-8 and control characters are escaped.
std::string JsonQuoted(absl::string_view text);

}  // namespace oncomesh::base
