// SPDX-License-Identifier: Apache-2.0
// What is said to somebody whose words were wrong.
#pragma once

#include <CLI/CLI.hpp>
#include <string>
#include <vector>

#include "absl/status/status.h"

namespace oncomesh::cli {

// INVALID_ARGUMENT with COMMAND_UNKNOWN, COMMAND_NEEDED, OPTION_UNKNOWN or USAGE; the message names
// what is meant, when something is near, and where the help is. `words` are those after the
// program's name; `error` is what CLI11 made of them.
absl::Status UsageError(const CLI::App& app, const std::vector<std::string>& words,
                        const CLI::ParseError& error);

// Does a word stand where a command must, and is none? Then help was asked for something that does
// not exist.
bool NamesNoCommand(const CLI::App& app, const std::vector<std::string>& words);

// Is -o json among the words? For errors that come before options are bound.
bool WantsJson(const std::vector<std::string>& words);

// The candidate that is `word` with at most two letters more, less, other or swapped, or that
// begins with it; empty when none or several are as near.
std::string Nearest(const std::string& word, const std::vector<std::string>& candidates);

}  // namespace oncomesh::cli
