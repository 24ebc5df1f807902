// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

namespace oncomesh::testing {

// The folder of real test data: ONCOMESH_TEST_DATA, else ../shared/data beside the checkout.
// Empty when there is none; the test then says so with WARN and returns.
std::string TestData(const std::string& below = "");

// A path inside the checkout.
std::string SourcePath(const std::string& below);

}  // namespace oncomesh::testing
