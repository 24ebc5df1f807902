// SPDX-License-Identifier: Apache-2.0
// `oncomesh ingest` and `oncomesh quarantine …`: sending files to the node's de-identification
// service.
#pragma once

#include "tools/oncomesh/session.h"

namespace oncomesh::cli {

void AddIngestCommands(CLI::App& app, Session& session);

}  // namespace oncomesh::cli
