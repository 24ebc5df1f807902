// SPDX-License-Identifier: Apache-2.0
// The one program people type.
#include <CLI/CLI.hpp>

#include "tools/oncomesh/commands.h"
#include "tools/oncomesh/session.h"

int main(int argc, char** argv) {
  CLI::App app("oncomesh: a federated mesh for cancer imaging", "oncomesh");
  oncomesh::cli::Session session;
  app.set_version_flag("--version", ONCOMESH_VERSION);
  app.add_option("--context", session.context_path_,
                 "who you are and where the front door is (or ONCOMESH_CONTEXT)");
  app.add_option("-o,--output", session.format_, "text or json")
      ->check(CLI::IsMember({"text", "json"}));
  app.add_flag("--quiet", session.quiet_, "no progress and no remarks on stderr");
  app.require_subcommand(1);
  app.fallthrough();
  oncomesh::cli::AddCommands(app, session);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    int code = app.exit(error);
    return code == 0 ? oncomesh::cli::kDone : oncomesh::cli::kUsage;
  }
  return session.exit_status_;
}
