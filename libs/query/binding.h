// SPDX-License-Identifier: Apache-2.0
// An expression tied to the variables of a registry: names resolved, values in their one spelling,
// negation moved down to the conditions. What is left can be evaluated with two operations on sets
// of rows.
#pragma once

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "libs/terminology/registry.h"
#include "oncomesh/query/v1/query.pb.h"

namespace oncomesh::query {

// A part that cannot be evaluated, and why.
struct Problem {
  // VARIABLE_UNKNOWN, OPERATOR_INVALID or VALUE_INVALID; VARIABLE_NOT_HELD is added by a node.
  std::string reason;
  std::string part;     // text of the condition
  std::string message;  // what is wrong and what would be right
};

struct Bound {
  enum class Kind {
    kAnd,        // all of `parts`; of none: every row
    kOr,         // one of `parts`
    kCondition,  // the variable is known and the comparison holds
    kHas,        // one row of the level's own rows makes parts[0] true; negated: each of them makes
                 // parts[0] true (the inner expression is then already the negated one)
    kProblem,    // problems[problem] says why it cannot be evaluated
  };
  Kind kind = Kind::kAnd;
  std::vector<Bound> parts;

  // kCondition. `op` is EQUAL (one or more codes or numbers: one of them), LESS, LESS_OR_EQUAL,
  // GREATER or GREATER_OR_EQUAL; with `negated` the row's value is known and not EQUAL to any.
  const terminology::Variable* variable = nullptr;
  v1::Operator op = v1::OPERATOR_UNSPECIFIED;
  bool negated = false;
  std::vector<std::string> codes;  // sorted, each once
  std::vector<double> numbers;     // sorted, each once

  terminology::Level has_level = terminology::Level::kPatient;  // kHas
  size_t problem = 0;                                           // kProblem
};

struct Binding {
  Bound root;
  std::vector<Problem> problems;  // empty: all of it can be evaluated
};

// Binds an expression that CheckShape accepts. Never fails: what cannot be bound becomes a problem
// in its place. Registry must outlive the result.
Binding Bind(const v1::Expression& expression, const terminology::Registry& registry);

// The error a person gets for the first problem: INVALID_ARGUMENT with the problem's reason.
// OK when there is none.
absl::Status FirstProblem(const Binding& binding);

// The finest level of the rows an expression speaks of. Of `all`: patient.
terminology::Level LevelOf(const Bound& bound);

// The one expression that stands for every expression with the same meaning as far as spelling,
// order, repetition, grouping and place of `not` go. Two expressions with equal canonical texts
// have equal answers at every node. Parts with problems stand as they were given.
v1::Expression Canonical(const v1::Expression& expression, const terminology::Registry& registry);

}  // namespace oncomesh::query
