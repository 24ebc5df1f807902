// SPDX-License-Identifier: Apache-2.0
// `oncomesh permit …`
#pragma once

#include "tools/oncomesh/session.h"

namespace oncomesh::cli {

void AddPermitCommands(CLI::App& app, Session& session);

}  // namespace oncomesh::cli
