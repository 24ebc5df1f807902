// SPDX-License-Identifier: Apache-2.0
// `oncomesh access …`: asking for access and deciding on it.
#pragma once

#include "tools/oncomesh/session.h"

namespace oncomesh::cli {

void AddAccessCommands(CLI::App& app, Session& session);

}  // namespace oncomesh::cli
