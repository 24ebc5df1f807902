// SPDX-License-Identifier: Apache-2.0
// REQUIRE_OK(status or StatusOr), REQUIRE_REASON(status, code, "REASON"), and
// REQUIRE_VALUE(lhs, expr), which assigns or fails the test.
#pragma once

#include <catch2/catch.hpp>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "libs/base/error.h"

namespace oncomesh::testing {
inline absl::Status StatusOf(const absl::Status& status) { return status; }
template <typename T>
absl::Status StatusOf(const absl::StatusOr<T>& value) {
  return value.status();
}
}  // namespace oncomesh::testing

#define REQUIRE_OK(expr)                                                    \
  do {                                                                      \
    const absl::Status oncomesh_ok = ::oncomesh::testing::StatusOf((expr)); \
    INFO(oncomesh_ok.ToString());                                           \
    REQUIRE(oncomesh_ok.ok());                                              \
  } while (false)

#define REQUIRE_REASON(expr, expected_code, expected_reason)                   \
  do {                                                                         \
    const absl::Status oncomesh_error = ::oncomesh::testing::StatusOf((expr)); \
    INFO(oncomesh_error.ToString());                                           \
    REQUIRE(oncomesh_error.code() == (expected_code));                         \
    REQUIRE(::oncomesh::base::ReasonOf(oncomesh_error) == (expected_reason));  \
  } while (false)

#define REQUIRE_VALUE_CAT_(a, b) a##b
#define REQUIRE_VALUE_CAT(a, b) REQUIRE_VALUE_CAT_(a, b)
#define REQUIRE_VALUE(lhs, expr)                              \
  auto REQUIRE_VALUE_CAT(oncomesh_value_, __LINE__) = (expr); \
  REQUIRE_OK(REQUIRE_VALUE_CAT(oncomesh_value_, __LINE__));   \
  lhs = *std::move(REQUIRE_VALUE_CAT(oncomesh_value_, __LINE__))
