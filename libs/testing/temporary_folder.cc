// SPDX-License-Identifier: Apache-2.0
#include "libs/testing/temporary_folder.h"

#include <cstdlib>
#include <filesystem>

namespace oncomesh::testing {

TemporaryFolder::TemporaryFolder() {
  std::string name = (std::filesystem::temp_directory_path() / "oncomesh-test-XXXXXX").string();
  if (mkdtemp(name.data()) == nullptr) std::abort();
  path_ = name;
}

TemporaryFolder::~TemporaryFolder() {
  std::error_code ignored;
  std::filesystem::remove_all(path_, ignored);
}

}  // namespace oncomesh::testing
