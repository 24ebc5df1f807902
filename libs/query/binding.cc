// SPDX-License-Identifier: Apache-2.0
#include "libs/query/binding.h"

#include <algorithm>
#include <map>
#include <utility>

#include "absl/strings/str_cat.h"
#include "libs/base/error.h"
#include "libs/query/text.h"

namespace oncomesh::query {
namespace {

using terminology::Level;
using terminology::Registry;
using terminology::Variable;
using v1::Expression;

class Binder {
 public:
  explicit Binder(const Registry& registry) : registry_(registry) {}

  // Kleene's logic obeys De Morgan, so `not` can move down until it stands at conditions, where it
  // turns one comparison of a known value into another, and at `has`, where it turns "one row"
  // into "each row … not".
  Bound Bind(const Expression& expression, bool negate) {
    switch (expression.kind_case()) {
      case Expression::kAnd:
      case Expression::kOr: {
        bool conjunction = expression.has_and_();
        Bound out;
        out.kind = conjunction != negate ? Bound::Kind::kAnd : Bound::Kind::kOr;
        const auto& parts = conjunction ? expression.and_().of() : expression.or_().of();
        for (const Expression& part : parts) out.parts.push_back(Bind(part, negate));
        return out;
      }
      case Expression::kNot:
        return Bind(expression.not_().of(), !negate);
      case Expression::kHas: {
        Bound out;
        out.kind = Bound::Kind::kHas;
        out.negated = negate;
        out.has_level =
            expression.has().level() == v1::LEVEL_STUDY ? Level::kStudy : Level::kPatient;
        out.parts.push_back(Bind(expression.has().of(), negate));
        return out;
      }
      case Expression::kCondition:
        return BindCondition(expression.condition(), negate);
      case Expression::KIND_NOT_SET:
        break;
    }
    return AddProblem("EXPRESSION_INVALID", "", "a part of the expression is empty");
  }

  std::vector<Problem> TakeProblems() { return std::move(problems_); }

 private:
  Bound AddProblem(absl::string_view reason, absl::string_view part, absl::string_view message) {
    Bound out;
    out.kind = Bound::Kind::kProblem;
    out.problem = problems_.size();
    problems_.push_back({std::string(reason), std::string(part), std::string(message)});
    return out;
  }

  Bound BindCondition(const v1::Condition& condition, bool negate) {
    Expression alone;
    *alone.mutable_condition() = condition;
    std::string part = PrintText(alone);
    const Variable* variable = registry_.Find(condition.variable());
    if (variable == nullptr) {
      std::string nearest = registry_.Nearest(condition.variable());
      return AddProblem(
          "VARIABLE_UNKNOWN", part,
          absl::StrCat("there is no variable '", condition.variable(), "'",
                       nearest.empty() ? "" : absl::StrCat("; did you mean '", nearest, "'?")));
    }
    Bound out;
    out.kind = Bound::Kind::kCondition;
    out.variable = variable;
    out.op = condition.operator_();
    out.negated = negate;
    switch (condition.operator_()) {
      case v1::OPERATOR_NOT_EQUAL:
        out.op = v1::OPERATOR_EQUAL;
        out.negated = !negate;
        break;
      case v1::OPERATOR_EQUAL:
      case v1::OPERATOR_IN:
        out.op = v1::OPERATOR_EQUAL;
        break;
      default:
        if (!variable->numeric()) {
          return AddProblem("OPERATOR_INVALID", part,
                            absl::StrCat("'", variable->name,
                                         "' has codes, which are compared "
                                         "with =, != and in only"));
        }
        // not (a < b) is a >= b for a known a.
        if (negate) out.op = Opposite(out.op);
        out.negated = false;
    }
    for (const std::string& value : condition.values()) {
      if (variable->numeric()) {
        absl::StatusOr<double> number = variable->ParseNumber(value);
        if (!number.ok()) return AddProblem("VALUE_INVALID", part, number.status().message());
        out.numbers.push_back(*number);
      } else {
        absl::StatusOr<std::string> code = variable->NormaliseCode(value);
        if (!code.ok()) return AddProblem("VALUE_INVALID", part, code.status().message());
        out.codes.push_back(*code);
      }
    }
    std::sort(out.codes.begin(), out.codes.end());
    out.codes.erase(std::unique(out.codes.begin(), out.codes.end()), out.codes.end());
    std::sort(out.numbers.begin(), out.numbers.end());
    out.numbers.erase(std::unique(out.numbers.begin(), out.numbers.end()), out.numbers.end());
    return out;
  }

  static v1::Operator Opposite(v1::Operator op) {
    switch (op) {
      case v1::OPERATOR_LESS:
        return v1::OPERATOR_GREATER_OR_EQUAL;
      case v1::OPERATOR_LESS_OR_EQUAL:
        return v1::OPERATOR_GREATER;
      case v1::OPERATOR_GREATER:
        return v1::OPERATOR_LESS_OR_EQUAL;
      default:
        return v1::OPERATOR_LESS;
    }
  }

  const Registry& registry_;
  std::vector<Problem> problems_;
};

// Codes that another code of the same list already covers add nothing.
void DropCovered(Bound& condition) {
  std::vector<std::string> kept;
  for (const std::string& code : condition.codes) {
    bool covered =
        std::any_of(condition.codes.begin(), condition.codes.end(), [&](const std::string& other) {
          return other != code && condition.variable->IsOrIsBelow(code, other);
        });
    if (!covered) kept.push_back(code);
  }
  condition.codes = std::move(kept);
}

void SortUnique(std::vector<std::string>& codes, std::vector<double>& numbers) {
  std::sort(codes.begin(), codes.end());
  codes.erase(std::unique(codes.begin(), codes.end()), codes.end());
  std::sort(numbers.begin(), numbers.end());
  numbers.erase(std::unique(numbers.begin(), numbers.end()), numbers.end());
}

class Canonicaliser {
 public:
  Expression Of(Bound bound) {
    switch (bound.kind) {
      case Bound::Kind::kAnd:
      case Bound::Kind::kOr:
        return Group(std::move(bound));
      case Bound::Kind::kHas: {
        Expression out;
        bool negated = bound.negated;
        // Inside stands the negated expression; the canonical text says `not patient has (…)` with
        // the positive one.
        Bound inner = negated ? Negated(std::move(bound.parts[0])) : std::move(bound.parts[0]);
        v1::Has* has =
            negated ? out.mutable_not_()->mutable_of()->mutable_has() : out.mutable_has();
        has->set_level(bound.has_level == Level::kStudy ? v1::LEVEL_STUDY : v1::LEVEL_PATIENT);
        *has->mutable_of() = Of(std::move(inner));
        return out;
      }
      case Bound::Kind::kCondition:
        return Condition(std::move(bound));
      case Bound::Kind::kProblem:
        break;
    }
    // Not reached: Canonical() leaves an expression with problems alone.
    return Expression();
  }

 private:
  static Bound Negated(Bound bound) {
    for (Bound& part : bound.parts) part = Negated(std::move(part));
    switch (bound.kind) {
      case Bound::Kind::kAnd:
        bound.kind = Bound::Kind::kOr;
        break;
      case Bound::Kind::kOr:
        bound.kind = Bound::Kind::kAnd;
        break;
      case Bound::Kind::kHas:
        bound.negated = !bound.negated;
        break;
      case Bound::Kind::kCondition:
        switch (bound.op) {
          case v1::OPERATOR_LESS:
            bound.op = v1::OPERATOR_GREATER_OR_EQUAL;
            break;
          case v1::OPERATOR_LESS_OR_EQUAL:
            bound.op = v1::OPERATOR_GREATER;
            break;
          case v1::OPERATOR_GREATER:
            bound.op = v1::OPERATOR_LESS_OR_EQUAL;
            break;
          case v1::OPERATOR_GREATER_OR_EQUAL:
            bound.op = v1::OPERATOR_LESS;
            break;
          default:
            bound.negated = !bound.negated;
        }
        break;
      case Bound::Kind::kProblem:
        break;
    }
    return bound;
  }

  static void Flatten(Bound group, Bound::Kind kind, std::vector<Bound>& out) {
    for (Bound& part : group.parts) {
      if (part.kind == kind || ((part.kind == Bound::Kind::kAnd || part.kind == Bound::Kind::kOr) &&
                                part.parts.size() == 1)) {
        Flatten(std::move(part), kind, out);
      } else {
        out.push_back(std::move(part));
      }
    }
  }

  Expression Group(Bound group) {
    Bound::Kind kind = group.kind;
    std::vector<Bound> flat;
    Flatten(std::move(group), kind, flat);
    // `a = 1 or a = 2` is `a in (1, 2)`; `a != 1 and a != 2` is its negation.
    std::map<const Variable*, Bound> merged;
    std::map<std::string, Expression> parts;
    for (Bound& part : flat) {
      bool joins = part.kind == Bound::Kind::kCondition && part.op == v1::OPERATOR_EQUAL &&
                   part.negated == (kind == Bound::Kind::kAnd);
      if (joins) {
        auto [place, fresh] = merged.try_emplace(part.variable, part);
        if (!fresh) {
          Bound& into = place->second;
          into.codes.insert(into.codes.end(), part.codes.begin(), part.codes.end());
          into.numbers.insert(into.numbers.end(), part.numbers.begin(), part.numbers.end());
          SortUnique(into.codes, into.numbers);
        }
        continue;
      }
      Add(Of(std::move(part)), parts);
    }
    for (auto& [variable, part] : merged) Add(Of(std::move(part)), parts);
    if (parts.size() == 1) return std::move(parts.begin()->second);
    Expression out;
    if (kind == Bound::Kind::kAnd) out.mutable_and_();
    for (auto& [text, part] : parts) {
      *(kind == Bound::Kind::kAnd ? out.mutable_and_()->add_of() : out.mutable_or_()->add_of()) =
          std::move(part);
    }
    // "Or of nothing" is what `not all` becomes.
    if (kind == Bound::Kind::kOr && parts.empty()) out.mutable_not_()->mutable_of()->mutable_and_();
    return out;
  }

  static void Add(Expression part, std::map<std::string, Expression>& parts) {
    std::string text = PrintText(part);
    parts.emplace(std::move(text), std::move(part));
  }

  static Expression Condition(Bound bound) {
    if (!bound.variable->numeric()) DropCovered(bound);
    v1::Condition condition;
    condition.set_variable(bound.variable->name);
    condition.set_operator_(bound.op);
    for (const std::string& code : bound.codes) condition.add_values(code);
    for (double number : bound.numbers) condition.add_values(terminology::FormatNumber(number));
    Expression out;
    if (bound.op == v1::OPERATOR_EQUAL && condition.values_size() > 1) {
      condition.set_operator_(v1::OPERATOR_IN);
      *(bound.negated ? out.mutable_not_()->mutable_of() : &out)->mutable_condition() = condition;
      return out;
    }
    if (bound.negated) condition.set_operator_(v1::OPERATOR_NOT_EQUAL);
    *out.mutable_condition() = condition;
    return out;
  }
};

}  // namespace

Binding Bind(const Expression& expression, const Registry& registry) {
  Binder binder(registry);
  Binding out;
  out.root = binder.Bind(expression, false);
  out.problems = binder.TakeProblems();
  return out;
}

absl::Status FirstProblem(const Binding& binding) {
  if (binding.problems.empty()) return absl::OkStatus();
  const Problem& problem = binding.problems[0];
  return base::Error(absl::StatusCode::kInvalidArgument, problem.reason,
                     absl::StrCat("expression", problem.part.empty() ? "" : ", in ", problem.part,
                                  ": ", problem.message),
                     {{"part", problem.part}});
}

Level LevelOf(const Bound& bound) {
  switch (bound.kind) {
    case Bound::Kind::kCondition:
      return bound.variable->level;
    case Bound::Kind::kHas:
      return bound.has_level;
    default: {
      Level level = Level::kPatient;
      for (const Bound& part : bound.parts) level = std::max(level, LevelOf(part));
      return level;
    }
  }
}

Expression Canonical(const Expression& expression, const Registry& registry) {
  Binding binding = Bind(expression, registry);
  if (!binding.problems.empty()) return expression;
  return Canonicaliser().Of(std::move(binding.root));
}

}  // namespace oncomesh::query
