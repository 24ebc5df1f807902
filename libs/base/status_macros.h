// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

// Names are made with __COUNTER__, so that a lambda inside the expression can use the macros too.
#define ONCOMESH_CONCAT_INNER(a, b) a##b
#define ONCOMESH_CONCAT(a, b) ONCOMESH_CONCAT_INNER(a, b)

// Leaves the function with the error when `expr` (an absl::Status) is not OK.
#define RETURN_IF_ERROR(expr) \
  ONCOMESH_RETURN_IF_ERROR(ONCOMESH_CONCAT(oncomesh_status_, __COUNTER__), expr)
#define ONCOMESH_RETURN_IF_ERROR(var, expr) \
  do {                                      \
    ::absl::Status var = (expr);            \
    if (!var.ok()) return var;              \
  } while (false)

// `lhs` gets the value of `expr` (an absl::StatusOr), or the function is left with its error.
#define ASSIGN_OR_RETURN(lhs, expr) \
  ONCOMESH_ASSIGN_OR_RETURN(ONCOMESH_CONCAT(oncomesh_status_or_, __COUNTER__), lhs, expr)
#define ONCOMESH_ASSIGN_OR_RETURN(var, lhs, expr) \
  auto var = (expr);                              \
  if (!var.ok()) return std::move(var).status();  \
  lhs = *std::move(var)
