// SPDX-License-Identifier: Apache-2.0
// `oncomesh policy …`
#pragma once

#include "tools/oncomesh/session.h"

namespace oncomesh::cli {

void AddPolicyCommands(CLI::App& app, Session& session);

}  // namespace oncomesh::cli
