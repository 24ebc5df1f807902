// SPDX-License-Identifier: Apache-2.0
// `oncomesh node …`
#pragma once

#include "tools/oncomesh/session.h"

namespace oncomesh::cli {

void AddNodeCommands(CLI::App& app, Session& session);

}  // namespace oncomesh::cli
