// SPDX-License-Identifier: Apache-2.0
#include "libs/query/text.h"

#include <google/protobuf/util/json_util.h>

#include <algorithm>
#include <utility>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "libs/base/error.h"
#include "libs/base/status_macros.h"

namespace oncomesh::query {
namespace {

using v1::Condition;
using v1::Expression;

absl::Status Invalid(absl::string_view message) {
  return base::Error(absl::StatusCode::kInvalidArgument, "EXPRESSION_INVALID", message);
}

enum class Kind { kEnd, kWord, kString, kNumber, kOperator, kOpen, kClose, kComma };

struct Token {
  Kind kind = Kind::kEnd;
  std::string text;     // of words, operators and numbers as written, of strings unescaped
  size_t position = 0;  // first byte, from 0
};

bool IsNumber(absl::string_view text) {
  if (absl::StartsWith(text, "-")) text.remove_prefix(1);
  size_t digits = 0, points = 0;
  for (char c : text) {
    if (c == '.') {
      ++points;
    } else if (absl::ascii_isdigit(c)) {
      ++digits;
    } else {
      return false;
    }
  }
  return digits > 0 && digits <= 30 && points <= 1 && text.front() != '.' && text.back() != '.';
}

bool IsVariableName(absl::string_view text) {
  return !text.empty() && text.size() <= 63 && absl::ascii_islower(text[0]) &&
         std::all_of(text.begin(), text.end(), [](char c) {
           return absl::ascii_islower(c) || absl::ascii_isdigit(c) || c == '_';
         });
}

// Well-formed UTF-8 without control characters: what a value may hold.
bool IsPrintable(absl::string_view text) {
  size_t i = 0;
  while (i < text.size()) {
    unsigned char c = static_cast<unsigned char>(text[i]);
    size_t more = c < 0x80                ? 0
                  : c >= 0xc2 && c < 0xe0 ? 1
                  : c >= 0xe0 && c < 0xf0 ? 2
                  : c >= 0xf0 && c < 0xf5 ? 3
                                          : 4;
    if (more == 4 || c < 0x20 || c == 0x7f || i + more >= text.size()) return false;
    uint32_t point = more == 0 ? c : c & (0x3f >> more);
    for (size_t k = 1; k <= more; ++k) {
      unsigned char next = static_cast<unsigned char>(text[i + k]);
      if ((next & 0xc0) != 0x80) return false;
      point = point << 6 | (next & 0x3f);
    }
    bool overlong = (more == 2 && point < 0x800) || (more == 3 && point < 0x10000);
    if (overlong || point > 0x10ffff || (point >= 0xd800 && point < 0xe000)) return false;
    i += more + 1;
  }
  return true;
}

class Parser {
 public:
  explicit Parser(absl::string_view text) : text_(text) {}

  absl::StatusOr<Expression> Run() {
    RETURN_IF_ERROR(Advance());
    Expression out;
    RETURN_IF_ERROR(ParseOr(out, 0));
    if (token_.kind != Kind::kEnd) return Expected("'and', 'or' or the end");
    return out;
  }

 private:
  absl::Status ErrorAt(size_t position, absl::string_view what) const {
    return base::Error(absl::StatusCode::kInvalidArgument, "EXPRESSION_INVALID",
                       absl::StrCat("expression, character ", position + 1, ": ", what),
                       {{"position", absl::StrCat(position + 1)}});
  }

  absl::Status Expected(absl::string_view what) const {
    std::string found;
    switch (token_.kind) {
      case Kind::kEnd:
        found = "the end";
        break;
      case Kind::kString:
        found = "a quoted value";
        break;
      case Kind::kOpen:
        found = "'('";
        break;
      case Kind::kClose:
        found = "')'";
        break;
      case Kind::kComma:
        found = "','";
        break;
      default:
        found = absl::StrCat("'", token_.text.substr(0, 32), "'");
    }
    return ErrorAt(token_.position, absl::StrCat("expected ", what, ", found ", found));
  }

  // Reads the next token into token_.
  absl::Status Advance() {
    while (at_ < text_.size() && absl::ascii_isspace(text_[at_])) ++at_;
    token_ = Token{Kind::kEnd, "", at_};
    if (at_ == text_.size()) return absl::OkStatus();
    char c = text_[at_];
    if (c == '(' || c == ')' || c == ',') {
      token_.kind = c == '(' ? Kind::kOpen : c == ')' ? Kind::kClose : Kind::kComma;
      ++at_;
      return absl::OkStatus();
    }
    if (c == '=' || c == '<' || c == '>' || c == '!') {
      size_t length = at_ + 1 < text_.size() && text_[at_ + 1] == '=' && c != '=' ? 2 : 1;
      token_.kind = Kind::kOperator;
      token_.text = std::string(text_.substr(at_, length));
      if (token_.text == "!") return ErrorAt(at_, "'!' is no operator; write != or not");
      at_ += length;
      return absl::OkStatus();
    }
    if (c == '"' || c == '\'') return ReadString(c);
    if (absl::ascii_isalnum(c) || c == '-' || c == '_') {
      size_t start = at_;
      while (at_ < text_.size() && (absl::ascii_isalnum(text_[at_]) || text_[at_] == '_' ||
                                    text_[at_] == '.' || text_[at_] == '-')) {
        ++at_;
      }
      token_.text = std::string(text_.substr(start, at_ - start));
      if (absl::ascii_isdigit(c) || c == '-') {
        token_.kind = Kind::kNumber;
        if (!IsNumber(token_.text)) {
          return ErrorAt(start, "a number is written like 50 or 2.5; put a code into quotes");
        }
        return absl::OkStatus();
      }
      token_.kind = Kind::kWord;
      return absl::OkStatus();
    }
    return ErrorAt(at_, "a character that has no meaning here");
  }

  absl::Status ReadString(char quote) {
    size_t start = at_++;
    token_.kind = Kind::kString;
    while (at_ < text_.size() && text_[at_] != quote) {
      if (text_[at_] == '\\') {
        ++at_;
        if (at_ == text_.size() ||
            (text_[at_] != '\\' && text_[at_] != '"' && text_[at_] != '\'')) {
          return ErrorAt(at_ - 1, "a backslash stands only before a quote or a backslash");
        }
      }
      token_.text.push_back(text_[at_++]);
    }
    if (at_ == text_.size()) return ErrorAt(start, "this quote is never closed");
    ++at_;
    if (token_.text.size() > kMaxValueBytes) {
      return ErrorAt(start, absl::StrCat("a value has at most ", kMaxValueBytes, " bytes"));
    }
    if (!IsPrintable(token_.text)) {
      return ErrorAt(start, "a value is UTF-8 text without control characters");
    }
    return absl::OkStatus();
  }

  bool IsKeyword(absl::string_view word) const {
    return token_.kind == Kind::kWord && absl::EqualsIgnoreCase(token_.text, word);
  }
  bool IsAnyKeyword() const {
    return IsKeyword("and") || IsKeyword("or") || IsKeyword("not") || IsKeyword("in") ||
           IsKeyword("has");
  }

  // or = and {"or" and}
  absl::Status ParseOr(Expression& out, int depth) {
    if (depth > kMaxDepth) {
      return ErrorAt(token_.position,
                     absl::StrCat("nested deeper than ", kMaxDepth, " levels; simplify it"));
    }
    Expression first;
    RETURN_IF_ERROR(ParseAnd(first, depth));
    if (!IsKeyword("or")) {
      out = std::move(first);
      return absl::OkStatus();
    }
    *out.mutable_or_()->add_of() = std::move(first);
    while (IsKeyword("or")) {
      RETURN_IF_ERROR(Advance());
      RETURN_IF_ERROR(ParseAnd(*out.mutable_or_()->add_of(), depth));
    }
    return absl::OkStatus();
  }

  // and = unary {"and" unary}
  absl::Status ParseAnd(Expression& out, int depth) {
    Expression first;
    RETURN_IF_ERROR(ParseUnary(first, depth));
    if (!IsKeyword("and")) {
      out = std::move(first);
      return absl::OkStatus();
    }
    *out.mutable_and_()->add_of() = std::move(first);
    while (IsKeyword("and")) {
      RETURN_IF_ERROR(Advance());
      RETURN_IF_ERROR(ParseUnary(*out.mutable_and_()->add_of(), depth));
    }
    return absl::OkStatus();
  }

  // unary = "not" unary | "(" or ")" | level "has" "(" or ")" | "all" | condition
  absl::Status ParseUnary(Expression& out, int depth) {
    if (depth > kMaxDepth) {
      return ErrorAt(token_.position,
                     absl::StrCat("nested deeper than ", kMaxDepth, " levels; simplify it"));
    }
    if (IsKeyword("not")) {
      RETURN_IF_ERROR(Advance());
      return ParseUnary(*out.mutable_not_()->mutable_of(), depth + 1);
    }
    if (token_.kind == Kind::kOpen) return ParseGroup(out, depth);
    if (token_.kind != Kind::kWord || IsAnyKeyword()) {
      return Expected("a variable, 'not' or '('");
    }
    Token name = token_;
    RETURN_IF_ERROR(Advance());
    if (IsKeyword("has")) {
      v1::Level level = v1::LEVEL_UNSPECIFIED;
      if (name.text == "patient") level = v1::LEVEL_PATIENT;
      if (name.text == "study") level = v1::LEVEL_STUDY;
      if (level == v1::LEVEL_UNSPECIFIED) {
        return ErrorAt(name.position, "write 'patient has (…)' or 'study has (…)'");
      }
      RETURN_IF_ERROR(Advance());
      if (token_.kind != Kind::kOpen) return Expected("'(' after 'has'");
      out.mutable_has()->set_level(level);
      return ParseGroup(*out.mutable_has()->mutable_of(), depth);
    }
    if (absl::EqualsIgnoreCase(name.text, "all") && token_.kind != Kind::kOperator &&
        !IsKeyword("in")) {
      out.mutable_and_();
      return absl::OkStatus();
    }
    return ParseCondition(*out.mutable_condition(), name);
  }

  absl::Status ParseGroup(Expression& out, int depth) {
    size_t open = token_.position;
    RETURN_IF_ERROR(Advance());
    RETURN_IF_ERROR(ParseOr(out, depth + 1));
    if (token_.kind != Kind::kClose) {
      return Expected(absl::StrCat("'and', 'or' or ')' for the '(' at character ", open + 1));
    }
    return Advance();
  }

  absl::Status ParseCondition(Condition& out, const Token& name) {
    if (!IsVariableName(name.text)) {
      return ErrorAt(name.position, "a variable is lower-case letters, digits and _");
    }
    if (++conditions_ > kMaxConditions) {
      return ErrorAt(name.position, absl::StrCat("more than ", kMaxConditions, " conditions"));
    }
    out.set_variable(name.text);
    if (IsKeyword("in")) {
      out.set_operator_(v1::OPERATOR_IN);
      RETURN_IF_ERROR(Advance());
      if (token_.kind != Kind::kOpen) return Expected("'(' after 'in'");
      do {
        RETURN_IF_ERROR(Advance());
        RETURN_IF_ERROR(ParseValue(out));
      } while (token_.kind == Kind::kComma);
      if (token_.kind != Kind::kClose) return Expected("',' or ')'");
      return Advance();
    }
    if (token_.kind != Kind::kOperator) {
      return Expected(absl::StrCat("=, !=, <, <=, >, >= or in after '", name.text, "'"));
    }
    for (v1::Operator op :
         {v1::OPERATOR_EQUAL, v1::OPERATOR_NOT_EQUAL, v1::OPERATOR_LESS, v1::OPERATOR_LESS_OR_EQUAL,
          v1::OPERATOR_GREATER, v1::OPERATOR_GREATER_OR_EQUAL}) {
      if (OperatorText(op) == token_.text) out.set_operator_(op);
    }
    RETURN_IF_ERROR(Advance());
    return ParseValue(out);
  }

  absl::Status ParseValue(Condition& out) {
    if (token_.kind != Kind::kString && token_.kind != Kind::kNumber) {
      return Expected("a number or a value in quotes");
    }
    if (++values_ > kMaxValues) {
      return ErrorAt(token_.position, absl::StrCat("more than ", kMaxValues, " values"));
    }
    out.add_values(token_.text);
    return Advance();
  }

  absl::string_view text_;
  size_t at_ = 0;
  Token token_;
  int conditions_ = 0;
  int values_ = 0;
};

struct Sizes {
  int conditions = 0;
  int values = 0;
};

absl::Status Check(const Expression& expression, int depth, Sizes& sizes) {
  if (depth > kMaxDepth) {
    return Invalid(absl::StrCat("the expression is nested deeper than ", kMaxDepth, " levels"));
  }
  switch (expression.kind_case()) {
    case Expression::kAnd:
      for (const Expression& part : expression.and_().of()) {
        RETURN_IF_ERROR(Check(part, depth + 1, sizes));
      }
      return absl::OkStatus();
    case Expression::kOr:
      if (expression.or_().of().empty()) return Invalid("an 'or' has at least one part");
      for (const Expression& part : expression.or_().of()) {
        RETURN_IF_ERROR(Check(part, depth + 1, sizes));
      }
      return absl::OkStatus();
    case Expression::kNot:
      return Check(expression.not_().of(), depth + 1, sizes);
    case Expression::kHas:
      if (expression.has().level() != v1::LEVEL_PATIENT &&
          expression.has().level() != v1::LEVEL_STUDY) {
        return Invalid("'has' names the level patient or study");
      }
      return Check(expression.has().of(), depth + 1, sizes);
    case Expression::kCondition:
      break;
    case Expression::KIND_NOT_SET:
      return Invalid("a part of the expression is empty");
  }
  const Condition& condition = expression.condition();
  sizes.values += condition.values_size();
  if (++sizes.conditions > kMaxConditions || sizes.values > kMaxValues) {
    return Invalid(absl::StrCat("an expression has at most ", kMaxConditions, " conditions and ",
                                kMaxValues, " values"));
  }
  if (!IsVariableName(condition.variable())) {
    return Invalid("a variable is lower-case letters, digits and _");
  }
  if (OperatorText(condition.operator_()).empty()) return Invalid("a condition has no operator");
  bool many = condition.operator_() == v1::OPERATOR_IN;
  if (condition.values().empty() || (!many && condition.values_size() != 1)) {
    return Invalid("a condition compares with one value, or with one or more after 'in'");
  }
  for (const std::string& value : condition.values()) {
    if (value.size() > kMaxValueBytes || !IsPrintable(value)) {
      return Invalid(absl::StrCat("a value is UTF-8 text of at most ", kMaxValueBytes,
                                  " bytes without control characters"));
    }
  }
  return absl::OkStatus();
}

void PrintValue(const std::string& value, std::string* out) {
  if (IsNumber(value)) {
    out->append(value);
    return;
  }
  out->push_back('"');
  for (char c : value) {
    if (c == '"' || c == '\\') out->push_back('\\');
    out->push_back(c);
  }
  out->push_back('"');
}

// How tightly the text of an expression holds together: a part that holds less tightly than its
// place demands gets parentheses.
enum class Tightness { kOr, kAnd, kUnary };

void Print(const Expression& expression, Tightness place, std::string* out) {
  switch (expression.kind_case()) {
    case Expression::kAnd:
    case Expression::kOr: {
      bool conjunction = expression.has_and_();
      const auto& parts = conjunction ? expression.and_().of() : expression.or_().of();
      if (parts.empty()) {
        out->append("all");
        return;
      }
      if (parts.size() == 1) {
        Print(parts[0], place, out);
        return;
      }
      Tightness mine = conjunction ? Tightness::kAnd : Tightness::kOr;
      bool enclose = place > mine;
      if (enclose) out->push_back('(');
      for (int i = 0; i < parts.size(); ++i) {
        if (i > 0) out->append(conjunction ? " and " : " or ");
        Print(parts[i], mine, out);
      }
      if (enclose) out->push_back(')');
      return;
    }
    case Expression::kNot:
      out->append("not ");
      Print(expression.not_().of(), Tightness::kUnary, out);
      return;
    case Expression::kHas:
      out->append(expression.has().level() == v1::LEVEL_STUDY ? "study has (" : "patient has (");
      Print(expression.has().of(), Tightness::kOr, out);
      out->push_back(')');
      return;
    case Expression::kCondition: {
      const Condition& condition = expression.condition();
      absl::StrAppend(out, condition.variable(), " ", OperatorText(condition.operator_()), " ");
      if (condition.operator_() != v1::OPERATOR_IN) {
        PrintValue(condition.values(0), out);
        return;
      }
      out->push_back('(');
      for (int i = 0; i < condition.values_size(); ++i) {
        if (i > 0) out->append(", ");
        PrintValue(condition.values(i), out);
      }
      out->push_back(')');
      return;
    }
    case Expression::KIND_NOT_SET:
      return;
  }
}

}  // namespace

absl::string_view OperatorText(v1::Operator op) {
  switch (op) {
    case v1::OPERATOR_EQUAL:
      return "=";
    case v1::OPERATOR_NOT_EQUAL:
      return "!=";
    case v1::OPERATOR_LESS:
      return "<";
    case v1::OPERATOR_LESS_OR_EQUAL:
      return "<=";
    case v1::OPERATOR_GREATER:
      return ">";
    case v1::OPERATOR_GREATER_OR_EQUAL:
      return ">=";
    case v1::OPERATOR_IN:
      return "in";
    default:
      return "";
  }
}

absl::StatusOr<Expression> ParseText(absl::string_view text) {
  if (text.size() > kMaxTextBytes) {
    return Invalid(absl::StrCat("an expression has at most ", kMaxTextBytes, " bytes"));
  }
  ASSIGN_OR_RETURN(Expression out, Parser(text).Run());
  RETURN_IF_ERROR(CheckShape(out));
  return out;
}

absl::StatusOr<Expression> ParseJson(absl::string_view json) {
  // A JSON form is wordier than a text; the bounds that matter are those of CheckShape.
  if (json.size() > 64 * kMaxTextBytes) return Invalid("the JSON expression is larger than 1 MiB");
  Expression out;
  auto status = google::protobuf::util::JsonStringToMessage(std::string(json), &out);
  if (!status.ok()) {
    return Invalid(absl::StrCat(
        "this is not the JSON of an oncomesh.query.v1.Expression (doc/formats/query.md): ",
        std::string(status.message()).substr(0, 200)));
  }
  RETURN_IF_ERROR(CheckShape(out));
  return out;
}

absl::Status CheckShape(const Expression& expression) {
  Sizes sizes;
  return Check(expression, 1, sizes);
}

std::string PrintText(const Expression& expression) {
  std::string out;
  Print(expression, Tightness::kOr, &out);
  return out;
}

}  // namespace oncomesh::query
