// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <CLI/CLI.hpp>

#include "tools/oncomesh/session.h"

namespace oncomesh::cli {

// oncomesh dataset
void AddDatasetCommands(CLI::App& app, Session& session);

}  // namespace oncomesh::cli
