// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <CLI/CLI.hpp>

#include "tools/oncomesh/session.h"

namespace oncomesh::cli {

// image convert|mask|resample|n4|normalise|quality|prepare: files to files, without any service.
void AddImageCommands(CLI::App& app, Session& session);

}  // namespace oncomesh::cli
