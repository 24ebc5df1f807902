// SPDX-License-Identifier: Apache-2.0
#include "tools/oncomesh/commands.h"

#include "tools/oncomesh/access_commands.h"
#include "tools/oncomesh/audit_commands.h"
#include "tools/oncomesh/completion_commands.h"
#include "tools/oncomesh/count_commands.h"
#include "tools/oncomesh/dataset_commands.h"
#include "tools/oncomesh/datasets_commands.h"
#include "tools/oncomesh/deid_commands.h"
#include "tools/oncomesh/image_commands.h"
#include "tools/oncomesh/ingest_commands.h"
#include "tools/oncomesh/mesh_commands.h"
#include "tools/oncomesh/names.h"
#include "tools/oncomesh/node_commands.h"
#include "tools/oncomesh/permit_commands.h"
#include "tools/oncomesh/policy_commands.h"
#include "tools/oncomesh/run_commands.h"
#include "tools/oncomesh/synth_commands.h"

namespace oncomesh::cli {
namespace {

// The options of the program stand in the help of the program only; every other one says so.
void TellOfCommon(CLI::App& command) {
  command.footer(
      "Common to every command: --context FILE, -o text|json, --quiet; see oncomesh "
      "--help\n\n" +
      command.get_footer());
  for (CLI::App* child : command.get_subcommands([](CLI::App*) { return true; })) {
    TellOfCommon(*child);
  }
}

}  // namespace

void AddCommands(CLI::App& app, Session& session) {
  app.footer("Example: oncomesh up --dir /tmp/mesh --detach");
  AddDeidCommands(app, session);
  AddMeshCommands(app, session);
  AddIngestCommands(app, session);
  AddDatasetCommands(app, session);
  AddDatasetsCommands(app, session);
  AddCountCommands(app, session);
  AddAccessCommands(app, session);
  AddPermitCommands(app, session);
  AddRunCommands(app, session);
  AddAuditCommands(app, session);
  AddNodeCommands(app, session);
  AddPolicyCommands(app, session);
  AddImageCommands(app, session);
  AddSynthCommands(app, session);
  AddNamesCommand(app, session);
  AddCompletionCommands(app, session);
  for (CLI::App* child : app.get_subcommands([](CLI::App*) { return true; })) TellOfCommon(*child);
}

}  // namespace oncomesh::cli
