// SPDX-License-Identifier: Apache-2.0
// `oncomesh synth`: identified phantom studies for demonstrations and tests.
#pragma once

#include <CLI/CLI.hpp>

#include "tools/oncomesh/session.h"

namespace oncomesh::cli {

void AddSynthCommands(CLI::App& app, Session& session);

}  // namespace oncomesh::cli
