// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <CLI/CLI.hpp>

#include "tools/oncomesh/session.h"

namespace oncomesh::cli {

// image prepare: a patient's files to volumes on one grid, as a node prepares them for training.
void AddImagePrepare(CLI::App* image, Session& session);

}  // namespace oncomesh::cli
