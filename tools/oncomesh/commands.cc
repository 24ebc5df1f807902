// SPDX-License-Identifier: Apache-2.0
#include "tools/oncomesh/commands.h"

#include "tools/oncomesh/completion_commands.h"
#include "tools/oncomesh/synth_commands.h"

namespace oncomesh::cli {

void AddCommands(CLI::App& app, Session& session) {
  app.footer("Example: oncomesh up --dir /tmp/mesh --detach");
  AddSynthCommands(app, session);
  AddCompletionCommands(app, session);
}

}  // namespace oncomesh::cli
