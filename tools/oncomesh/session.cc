// SPDX-License-Identifier: Apache-2.0
#include "tools/oncomesh/session.h"

#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <nlohmann/json.hpp>

#include "absl/strings/cord.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "libs/base/error.h"
#include "libs/base/files.h"
#include "libs/base/status_macros.h"

namespace oncomesh::cli {
namespace {

// The payload that says that the words were wrong.
constexpr char kUsageUrl[] = "oncomesh.cli/usage";

double Seconds() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

// A path in a context file is relative to that file's folder.
std::string Beside(const std::string& context_path, const std::string& path) {
  if (path.empty() || path[0] == '/') return path;
  size_t slash = context_path.rfind('/');
  return slash == std::string::npos ? path : context_path.substr(0, slash + 1) + path;
}

}  // namespace

std::string Session::context_path() const {
  if (!context_path_.empty()) return context_path_;
  const char* given = std::getenv("ONCOMESH_CONTEXT");
  return given != nullptr ? given : "";
}

absl::StatusOr<Context> Session::LoadContext() const {
  const std::string path = context_path();
  if (path.empty()) {
    return base::Error(absl::StatusCode::kFailedPrecondition, "NO_CONTEXT",
                       "say who you are with --context FILE or ONCOMESH_CONTEXT; `oncomesh up` "
                       "writes such files to DIR/contexts/");
  }
  ASSIGN_OR_RETURN(std::string content,
                   ReadNamedFile(path, 1 << 20,
                                 context_path_.empty() ? "the context file of ONCOMESH_CONTEXT"
                                                       : "the context file of --context"));
  nlohmann::json document = nlohmann::json::parse(content, nullptr, /*allow_exceptions=*/false);
  Context out;
  auto get = [&](const char* key, std::string& value) {
    if (!document.contains(key)) return true;
    if (!document[key].is_string()) return false;
    value = document[key].get<std::string>();
    return true;
  };
  if (!document.is_object() || !get("endpoint", out.endpoint) ||
      !get("trustDomain", out.trust_domain) || !get("site", out.site) ||
      !get("caFile", out.ca_file) || !get("tokenFile", out.token_file) ||
      !get("credentialFile", out.credential_file) || !get("subject", out.subject) ||
      out.endpoint.empty() || out.trust_domain.empty() || out.site.empty()) {
    return base::Error(absl::StatusCode::kInvalidArgument, "CONTEXT_INVALID",
                       "the context file must be a JSON object with the strings endpoint, "
                       "trustDomain, site (whose front door it is: hub or a node) and caFile, and "
                       "tokenFile or credentialFile");
  }
  out.ca_file = Beside(path, out.ca_file);
  out.token_file = Beside(path, out.token_file);
  out.credential_file = Beside(path, out.credential_file);
  return out;
}

void Session::Print(const nlohmann::json& document, absl::string_view text) const {
  std::string out = json() ? document.dump(2, ' ', false, nlohmann::json::error_handler_t::replace)
                           : std::string(text);
  if (out.empty()) return;
  std::fwrite(out.data(), 1, out.size(), stdout);
  if (out.back() != '\n') std::fputc('\n', stdout);
}

void Session::Say(absl::string_view line) const {
  if (quiet_) return;
  absl::FPrintF(stderr, "%s\n", line);
}

Progress::Progress(const Session& session, std::string what, std::string unit, uint64_t total)
    : shown_(!session.quiet()),
      terminal_(isatty(STDERR_FILENO) == 1),
      what_(std::move(what)),
      unit_(std::move(unit)),
      total_(total),
      started_(Seconds()) {
  drawn_ = started_;
}

Progress::~Progress() {
  if (shown_ && terminal_) Draw(/*last=*/true);
}

void Progress::Advance(uint64_t done, uint64_t bytes) {
  done_ += done;
  bytes_ += bytes;
  if (!shown_) return;
  double now = Seconds();
  if (now - drawn_ < (terminal_ ? 0.1 : 5.0)) return;
  drawn_ = now;
  Draw(false);
}

void Progress::Draw(bool last) {
  double elapsed = Seconds() - started_;
  double rate = elapsed > 0 ? static_cast<double>(done_) / elapsed : 0;
  std::string line = absl::StrCat(what_, " ", done_);
  if (total_ > 0) absl::StrAppend(&line, " of ", total_);
  absl::StrAppend(&line, " ", unit_, absl::StrFormat(", %.0f/s", rate));
  if (bytes_ > 0) {
    absl::StrAppend(&line, absl::StrFormat(", %.1f MB", static_cast<double>(bytes_) / 1e6));
  }
  if (total_ > done_ && rate > 0) {
    absl::StrAppend(&line,
                    absl::StrFormat(", %.0f s left", static_cast<double>(total_ - done_) / rate));
  }
  if (!terminal_) {
    absl::FPrintF(stderr, "%s\n", line);
    return;
  }
  constexpr int kWidth = 24;
  std::string bar;
  if (total_ > 0) {
    int full = static_cast<int>(kWidth * done_ / total_);
    bar = absl::StrCat("[", std::string(full, '#'), std::string(kWidth - full, '.'), "] ");
  }
  absl::FPrintF(stderr, "\r\033[K%s%s%s", bar, line, last ? "\n" : "");
  std::fflush(stderr);
}

absl::StatusOr<std::string> ReadNamedFile(const std::string& path, uint64_t limit,
                                          absl::string_view what) {
  absl::StatusOr<std::string> content = base::ReadFile(path, limit);
  if (!content.ok()) return base::Annotate(content.status(), absl::StrCat(what, ": "));
  return content;
}

namespace {

// Errors that gRPC made by itself, in words that help.
absl::Status Explain(const absl::Status& status) {
  const std::string reason = base::ErrorInfoOf(status).reason;
  if (status.code() == absl::StatusCode::kUnimplemented &&
      (reason.empty() || reason == "METHOD_UNKNOWN")) {
    return base::Error(
        absl::StatusCode::kUnimplemented, "METHOD_UNKNOWN",
        "the site of this context does not do that: ingest, quarantine, dataset and policy need a "
        "context of a node's holder, count, access request, permit, run and node one of the hub");
  }
  if (status.code() == absl::StatusCode::kUnavailable && reason.empty()) {
    return base::Error(
        absl::StatusCode::kUnavailable, "FRONT_DOOR_UNREACHABLE",
        absl::StrCat("no safe connection to the front door; is the mesh up, and is it the one of "
                     "the context? (",
                     status.message(), ")"));
  }
  if (reason == "FILE_EXISTS") {
    return base::Error(absl::StatusCode::kAlreadyExists, "OUTPUT_EXISTS",
                       "the output is there already; choose another name, or use --force");
  }
  if (status.code() == absl::StatusCode::kDeadlineExceeded && reason.empty()) {
    return base::Error(absl::StatusCode::kDeadlineExceeded, "NO_ANSWER_IN_TIME",
                       "the service did not answer in time; try again, or see: oncomesh status");
  }
  return status;
}

}  // namespace

absl::Status WrongUsage(absl::string_view reason, absl::string_view message) {
  return AsWrongUsage(base::Error(absl::StatusCode::kInvalidArgument, reason, message));
}

absl::Status AsWrongUsage(absl::Status status) {
  status.SetPayload(kUsageUrl, absl::Cord());
  return status;
}

std::string Printable(absl::string_view text) {
  std::string out = nlohmann::json(std::string(text))
                        .dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
  out = nlohmann::json::parse(out).get<std::string>();
  for (char& c : out) {
    if (c == '\n' || c == '\t') c = ' ';
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) c = '?';
  }
  return out;
}

int Fail(const Session& session, const absl::Status& status) {
  base::ErrorInfo info = base::ErrorInfoOf(status);
  std::string reason = base::ReasonOf(status);
  std::string message = Printable(status.message());
  absl::FPrintF(stderr, "error: %s: %s\n", reason, message);
  if (session.json()) {
    nlohmann::json error = {{"code", absl::StatusCodeToString(status.code())},
                            {"reason", reason},
                            {"message", message},
                            {"metadata", info.metadata}};
    std::string text = nlohmann::json{{"error", error}}.dump(
        -1, ' ', false, nlohmann::json::error_handler_t::replace);
    absl::FPrintF(stderr, "%s\n", text);
  }
  return status.GetPayload(kUsageUrl).has_value() ? kUsage : kFailed;
}

void OnRun(CLI::App* command, Session& session, std::function<absl::StatusOr<int>()> action) {
  command->callback([&session, action = std::move(action)] {
    absl::StatusOr<int> status = action();
    // What was done stays done, but whoever reads the output must not take a part for the whole.
    if (std::fflush(stdout) != 0 || std::ferror(stdout) != 0) {
      if (status.ok()) {
        status = base::Error(absl::StatusCode::kDataLoss, "OUTPUT_LOST",
                             "the result could not be written to standard output; is its disk "
                             "full?");
      }
    }
    session.exit_status_ = status.ok() ? *status : Fail(session, Explain(status.status()));
  });
}

namespace {

// Characters of UTF-8, which take a column each in the scripts that names here are written in.
size_t Columns(absl::string_view text) {
  return static_cast<size_t>(std::count_if(text.begin(), text.end(), [](char c) {
    return (static_cast<unsigned char>(c) & 0xc0) != 0x80;
  }));
}

}  // namespace

std::string Table(const std::vector<std::vector<std::string>>& rows) {
  std::vector<size_t> widths;
  for (const auto& row : rows) {
    widths.resize(std::max(widths.size(), row.size()));
    for (size_t i = 0; i < row.size(); ++i)
      widths[i] = std::max(widths[i], Columns(Printable(row[i])));
  }
  std::string out;
  for (const auto& row : rows) {
    std::string line;
    for (size_t i = 0; i < row.size(); ++i) {
      const std::string cell = Printable(row[i]);
      absl::StrAppend(&line, cell);
      if (i + 1 < row.size()) line.append(widths[i] - Columns(cell) + 2, ' ');
    }
    absl::StrAppend(&out, line, "\n");
  }
  return out;
}

}  // namespace oncomesh::cli
