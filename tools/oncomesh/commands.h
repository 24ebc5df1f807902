// SPDX-License-Identifier: Apache-2.0
// Every noun of the program. One file pair per noun: <noun>_commands.{h,cc}.
#pragma once

#include <CLI/CLI.hpp>

#include "tools/oncomesh/session.h"

namespace oncomesh::cli {

void AddCommands(CLI::App& app, Session& session);

}  // namespace oncomesh::cli
