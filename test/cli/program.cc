// SPDX-License-Identifier: Apache-2.0
#include "test/cli/program.h"

#include <sys/wait.h>

#include <catch2/catch.hpp>
#include <cstdio>
#include <cstdlib>

#include "absl/strings/str_cat.h"

namespace oncomesh::testing {

Outcome Shell(const std::string& command) {
  FILE* pipe = popen(command.c_str(), "r");
  REQUIRE(pipe != nullptr);
  Outcome outcome;
  char buffer[4096];
  size_t got;
  while ((got = fread(buffer, 1, sizeof buffer, pipe)) > 0) outcome.out.append(buffer, got);
  int status = pclose(pipe);
  outcome.status = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  return outcome;
}

std::string Program() {
  const char* folder = std::getenv("ONCOMESH_BINARY_DIR");
  return absl::StrCat("'", folder != nullptr ? folder : ".", "/bin/oncomesh'");
}

}  // namespace oncomesh::testing
