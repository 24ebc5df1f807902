// SPDX-License-Identifier: Apache-2.0
// What every command of the `oncomesh` program shares: output format, progress, context and the
// way it ends. doc/cli.md is the contract.
#pragma once

#include <CLI/CLI.hpp>
#include <cstdint>
#include <functional>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace oncomesh::cli {

// Exit statuses of the program.
inline constexpr int kDone = 0;    // all of it
inline constexpr int kFailed = 1;  // refused or failed
inline constexpr int kUsage = 2;   // the words were wrong
inline constexpr int kPartly = 3;  // done in part

// Who one is and where the front door is (--context FILE or ONCOMESH_CONTEXT).
struct Context {
  std::string endpoint;         // host:port of the front door
  std::string trust_domain;     // of the mesh
  std::string site;             // whose front door it must be: "hub" or a node
  std::string ca_file;          // PEM that the server's certificate must chain to
  std::string token_file;       // the person's JWT, or empty
  std::string credential_file;  // what the local issuer takes for a new token, or empty
  std::string subject;          // whose context it is, for messages
};

class Session {
 public:
  bool json() const { return format_ == "json"; }
  bool quiet() const { return quiet_; }

  // The context named on the command line or by the environment.
  // Errors: FAILED_PRECONDITION (NO_CONTEXT), INVALID_ARGUMENT (CONTEXT_INVALID), those of
  // ReadNamedFile.
  absl::StatusOr<Context> LoadContext() const;

  // The path given by --context or ONCOMESH_CONTEXT; empty when neither is.
  std::string context_path() const;

  // Prints the one result: `document` with -o json, `text` otherwise (a newline is added).
  void Print(const nlohmann::json& document, absl::string_view text) const;
  // One line on stderr unless --quiet.
  void Say(absl::string_view line) const;

  // Global options, bound by main.
  std::string format_ = "text";
  bool quiet_ = false;
  std::string context_path_;
  int exit_status_ = kDone;
};

// Progress on stderr: a bar with rate and remaining time on a terminal, a plain line every few
// seconds elsewhere, nothing with --quiet. One thread uses it.
class Progress {
 public:
  // `total` 0 when unknown; `unit` is what is counted ("files").
  Progress(const Session& session, std::string what, std::string unit, uint64_t total);
  ~Progress();
  void Advance(uint64_t done, uint64_t bytes = 0);

 private:
  void Draw(bool last);
  bool shown_;
  bool terminal_;
  std::string what_, unit_;
  uint64_t total_, done_ = 0, bytes_ = 0;
  double started_, drawn_ = 0;
};

// Gives `command` its action. The action returns the exit status, or an error that is printed as
// `error: <REASON>: <message>` (and as JSON on stderr with -o json) and ends as Fail says.
void OnRun(CLI::App* command, Session& session, std::function<absl::StatusOr<int>()> action);

// An error of the words themselves: what is wrong with them before anything is opened or asked, and
// will be wrong wherever the command runs. It is INVALID_ARGUMENT and ends the program with kUsage.
absl::Status WrongUsage(absl::string_view reason, absl::string_view message);
// `status`, of a library that was given nothing but the words, as such an error. OK stays OK.
absl::Status AsWrongUsage(absl::Status status);

// A file that somebody has named and that holds nothing of a patient; `what` is what the person
// takes it for ("the plan"). Errors: as base::ReadFile, the message beginning with `what`.
absl::StatusOr<std::string> ReadNamedFile(const std::string& path, uint64_t limit,
                                          absl::string_view what);

// Prints an error in the contract's form and returns kFailed, or kUsage for one of WrongUsage.
// Bytes of a message that are no printable text are shown as '?'.
int Fail(const Session& session, const absl::Status& status);

// The text as one line of UTF-8 without control characters: what other people wrote may neither
// steer the terminal nor pass for a line of ours.
std::string Printable(absl::string_view text);

// Columns aligned for a terminal, each cell printable; the first row is the heading.
std::string Table(const std::vector<std::vector<std::string>>& rows);

}  // namespace oncomesh::cli
