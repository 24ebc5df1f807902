// SPDX-License-Identifier: Apache-2.0
// oncomesh deid: de-identification on this machine, without any service.
#pragma once

#include <CLI/CLI.hpp>

#include "tools/oncomesh/session.h"

namespace oncomesh::cli {

void AddDeidCommands(CLI::App& app, Session& session);

}  // namespace oncomesh::cli
