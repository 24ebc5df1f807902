// SPDX-License-Identifier: Apache-2.0
// `oncomesh run …`: federated training runs and their models.
#pragma once

#include "tools/oncomesh/session.h"

namespace oncomesh::cli {

void AddRunCommands(CLI::App& app, Session& session);

}  // namespace oncomesh::cli
