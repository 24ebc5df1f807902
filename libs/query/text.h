// SPDX-License-Identifier: Apache-2.0
// The text form of query expressions (doc/formats/query.md):
//
//   modality = "MR" and (sex = "F" or not age < 50) and topography in ("C50", "C50.4")
//
// Parsing and printing know no variables; libs/query/binding.h checks an expression against the
// registry.
#pragma once

#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "oncomesh/query/v1/query.pb.h"

namespace oncomesh::query {

// Bounds of every expression, whichever form it came in.
inline constexpr size_t kMaxTextBytes = 16 << 10;
inline constexpr int kMaxDepth = 32;
inline constexpr int kMaxConditions = 256;
inline constexpr int kMaxValues = 1024;  // in all conditions together
inline constexpr size_t kMaxValueBytes = 256;

// The expression of `text`. Errors: INVALID_ARGUMENT (EXPRESSION_INVALID), whose message says at
// which character and what would have been right; metadata "position" counts bytes from 1.
absl::StatusOr<v1::Expression> ParseText(absl::string_view text);

// The expression of its JSON form (protobuf's mapping of oncomesh.query.v1.Expression).
// Errors: INVALID_ARGUMENT (EXPRESSION_INVALID).
absl::StatusOr<v1::Expression> ParseJson(absl::string_view json);

// OK when every part is there and within the bounds: what ParseText returns always is.
// Errors: INVALID_ARGUMENT (EXPRESSION_INVALID).
absl::Status CheckShape(const v1::Expression& expression);

// The text of an expression that CheckShape accepts, with no parenthesis that is not needed.
// Parsing it gives the same expression, but for groups of one and groups within a group of their
// own kind, which mean the same without their parentheses.
std::string PrintText(const v1::Expression& expression);

// "<=" of OPERATOR_LESS_OR_EQUAL.
absl::string_view OperatorText(v1::Operator op);

}  // namespace oncomesh::query
