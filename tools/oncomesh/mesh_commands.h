// SPDX-License-Identifier: Apache-2.0
// `oncomesh up`, `down` and `status`: a whole mesh on one machine.
#pragma once

#include "tools/oncomesh/session.h"

namespace oncomesh::cli {

void AddMeshCommands(CLI::App& app, Session& session);

}  // namespace oncomesh::cli
