// SPDX-License-Identifier: Apache-2.0
// `oncomesh audit …`: what was done, and the proof that nothing of it was changed.
#pragma once

#include "tools/oncomesh/session.h"

namespace oncomesh::cli {

void AddAuditCommands(CLI::App& app, Session& session);

}  // namespace oncomesh::cli
