// SPDX-License-Identifier: Apache-2.0
// `oncomesh completion bash|zsh|fish`: scripts that complete commands, options and their values.
#pragma once

#include <CLI/CLI.hpp>
#include <string>

#include "absl/strings/string_view.h"
#include "tools/oncomesh/session.h"

namespace oncomesh::cli {

void AddCompletionCommands(CLI::App& app, Session& session);

// The script for one of "bash", "zsh" and "fish", made from the commands and options of `app` as
// they are; commands without a group are hidden and left out.
std::string CompletionScript(const CLI::App& app, absl::string_view shell);

}  // namespace oncomesh::cli
