// SPDX-License-Identifier: Apache-2.0
// The one program people type.
#include <CLI/CLI.hpp>
#include <cstdlib>
#include <string>
#include <vector>

#include "tools/oncomesh/commands.h"
#include "tools/oncomesh/interrupt.h"
#include "tools/oncomesh/session.h"
#include "tools/oncomesh/usage.h"

int main(int argc, char** argv) {
  // What gRPC would say on stderr is said by the commands, in the contract's form.
  setenv("GRPC_VERBOSITY", "NONE", /*overwrite=*/0);
  CLI::App app("oncomesh: a federated mesh for cancer imaging", "oncomesh");
  oncomesh::cli::Session session;
  app.set_version_flag("--version", ONCOMESH_VERSION);
  app.add_option("--context", session.context_path_,
                 "who you are and where the front door is (or ONCOMESH_CONTEXT)")
      ->type_name("FILE");
  app.add_option("-o,--output", session.format_, "text or json")
      ->check(CLI::IsMember({"text", "json"}));
  app.add_flag("--quiet", session.quiet_, "no progress and no remarks on stderr");
  app.require_subcommand(1);
  app.fallthrough();
  oncomesh::cli::AddCommands(app, session);
  oncomesh::cli::LeaveNoHalfFiles();
  const std::vector<std::string> words(argv + (argc > 0 ? 1 : 0), argv + argc);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    const bool answer = error.get_exit_code() == 0;  // help and version
    if (answer && !oncomesh::cli::NamesNoCommand(app, words)) {
      app.exit(error);
      return oncomesh::cli::kDone;
    }
    if (oncomesh::cli::WantsJson(words)) session.format_ = "json";
    return oncomesh::cli::Fail(session, oncomesh::cli::UsageError(app, words, error));
  }
  return session.exit_status_;
}
