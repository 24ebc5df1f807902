// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <CLI/CLI.hpp>

#include "tools/oncomesh/session.h"

namespace oncomesh::cli {

// image n4: the bias field of an MR image, with progress by iterations.
void AddImageN4(CLI::App* image, Session& session);

}  // namespace oncomesh::cli
