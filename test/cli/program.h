// SPDX-License-Identifier: Apache-2.0
// The program as a shell runs it.
#pragma once

#include <string>

namespace oncomesh::testing {

struct Outcome {
  int status;       // of the exit; -1 when a signal ended it
  std::string out;  // stdout and, when the command says so, stderr
};

Outcome Shell(const std::string& command);

// Quoted path of `oncomesh` of this build.
std::string Program();

}  // namespace oncomesh::testing
