// SPDX-License-Identifier: Apache-2.0
#include "libs/testing/test_data.h"

#include <cstdlib>
#include <filesystem>

namespace oncomesh::testing {

std::string SourcePath(const std::string& below) {
  const char* root = std::getenv("ONCOMESH_SOURCE_DIR");
  return std::string(root != nullptr ? root : ".") + "/" + below;
}

std::string TestData(const std::string& below) {
  const char* given = std::getenv("ONCOMESH_TEST_DATA");
  std::string root = given != nullptr ? given : SourcePath("../shared/data");
  std::string path = below.empty() ? root : root + "/" + below;
  return std::filesystem::exists(path) ? path : "";
}

}  // namespace oncomesh::testing
