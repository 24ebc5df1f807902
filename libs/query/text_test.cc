// SPDX-License-Identifier: Apache-2.0
#include "libs/query/text.h"

#include <google/protobuf/util/json_util.h>
#include <google/protobuf/util/message_differencer.h>

#include <catch2/catch.hpp>
#include <random>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "libs/base/error.h"
#include "libs/testing/status_matchers.h"

namespace oncomesh::query {
namespace {

using google::protobuf::util::MessageDifferencer;
using v1::Expression;

std::string Json(const Expression& expression) {
  std::string out;
  REQUIRE(google::protobuf::util::MessageToJsonString(expression, &out).ok());
  return out;
}

TEST_CASE("expression: the example of the command-line contract reads as it is meant") {
  REQUIRE_VALUE(Expression parsed,
                ParseText("modality = \"MR\" and (sex = \"F\" or not age < 50) and topography in "
                          "(\"C50\",\"C50.4\")"));
  CHECK(
      Json(parsed) ==
      R"({"and":{"of":[)"
      R"({"condition":{"variable":"modality","operator":"OPERATOR_EQUAL","values":["MR"]}},)"
      R"({"or":{"of":[)"
      R"({"condition":{"variable":"sex","operator":"OPERATOR_EQUAL","values":["F"]}},)"
      R"({"not":{"of":{"condition":{"variable":"age","operator":"OPERATOR_LESS","values":["50"]}}}}]}},)"
      R"({"condition":{"variable":"topography","operator":"OPERATOR_IN","values":["C50","C50.4"]}}]}})");
  REQUIRE_VALUE(Expression again, ParseJson(Json(parsed)));
  CHECK(MessageDifferencer::Equals(parsed, again));
  CHECK(
      PrintText(parsed) ==
      "modality = \"MR\" and (sex = \"F\" or not age < 50) and topography in (\"C50\", \"C50.4\")");
}

TEST_CASE("expression: and binds more tightly than or, not more than both") {
  auto printed = [](const char* text) {
    auto parsed = ParseText(text);
    return parsed.ok() ? PrintText(*parsed) : std::string(parsed.status().message());
  };
  CHECK(printed("a = 1 or b = 2 and c = 3") == "a = 1 or b = 2 and c = 3");
  CHECK(printed("(a = 1 or b = 2) and c = 3") == "(a = 1 or b = 2) and c = 3");
  CHECK(printed("a = 1 or (b = 2 and c = 3)") == "a = 1 or b = 2 and c = 3");
  CHECK(printed("not a = 1 and b = 2") == "not a = 1 and b = 2");
  CHECK(printed("not (a = 1 and b = 2)") == "not (a = 1 and b = 2)");
  CHECK(printed("not not a >= 1.50") == "not not a >= 1.50");
  CHECK(printed("((((a = 1))))") == "a = 1");
  CHECK(printed("a!=1 AND b<=2 Or c>3") == "a != 1 and b <= 2 or c > 3");
  CHECK(printed("all") == "all");
  CHECK(printed("all = 1") == "all = 1");
  CHECK(printed("not all or x in (1)") == "not all or x in (1)");
  CHECK(printed("patient has (a = 1 or b = 2) and study has (c = 3)") ==
        "patient has (a = 1 or b = 2) and study has (c = 3)");
  CHECK(printed("a = 'it''s'").find("character 9") != std::string::npos);
  CHECK(printed("a = 'x\\'y'") == "a = \"x'y\"");
  CHECK(printed("a = \"x\\\"y\\\\z\"") == "a = \"x\\\"y\\\\z\"");
  CHECK(printed("a = \"Stra\xc3\x9f"
                "e\"") ==
        "a = \"Stra\xc3\x9f"
        "e\"");
  CHECK(printed("a = -2.5") == "a = -2.5");
}

TEST_CASE("expression: an error says at which character, and what would have been right") {
  struct Case {
    const char* text;
    const char* position;
    const char* says;
  };
  for (const Case& c : {
           Case{"", "1", "a variable"},
           Case{"modality", "9", "after 'modality'"},
           Case{"modality = ", "12", "a value in quotes"},
           Case{"modality = MR", "12", "a value in quotes"},
           Case{"modality == \"MR\"", "11", "a value in quotes"},
           Case{"modality = \"MR", "12", "never closed"},
           Case{"modality = \"MR\" sex = \"F\"", "17", "'and', 'or' or the end"},
           Case{"(modality = \"MR\"", "17", "for the '(' at character 1"},
           Case{"modality = \"MR\")", "16", "the end"},
           Case{"modality in \"MR\"", "13", "'(' after 'in'"},
           Case{"modality in ()", "14", "a value in quotes"},
           Case{"modality in (\"MR\",)", "19", "a value in quotes"},
           Case{"age ! 5", "5", "!="},
           Case{"age = 5o", "7", "quotes"},
           Case{"age = 5.", "7", "quotes"},
           Case{"Age = 5", "1", "lower-case"},
           Case{"and", "1", "a variable"},
           Case{"a = 1 and", "10", "a variable"},
           Case{"a = 1 & b = 2", "7", "no meaning"},
           Case{"series has (a = 1)", "1", "patient has"},
           Case{"patient has a = 1", "13", "'(' after 'has'"},
           Case{"a = \"\\n\"", "6", "backslash"},
           Case{"a = \"\x01\"", "5", "control"},
           Case{"a = \"\xff\"", "5", "UTF-8"},
           Case{"a = \"\xc0\xaf\"", "5", "UTF-8"},
           Case{"a = \"\xed\xa0\x80\"", "5", "UTF-8"},
       }) {
    INFO(c.text);
    absl::Status status = ParseText(c.text).status();
    REQUIRE_REASON(status, absl::StatusCode::kInvalidArgument, "EXPRESSION_INVALID");
    CHECK(base::ErrorInfoOf(status).metadata["position"] == c.position);
    CHECK(std::string(status.message()).find(c.says) != std::string::npos);
  }
}

TEST_CASE("expression: depth, conditions, values and bytes are bounded in both forms") {
  auto refused = [](const std::string& text) {
    REQUIRE_REASON(ParseText(text), absl::StatusCode::kInvalidArgument, "EXPRESSION_INVALID");
  };
  auto repeat = [](const std::string& text, int times) {
    std::string out;
    for (int i = 0; i < times; ++i) out += text;
    return out;
  };
  REQUIRE_OK(ParseText(repeat("(", 32) + "a = 1" + repeat(")", 32)));
  refused(repeat("(", 33) + "a = 1" + repeat(")", 33));
  refused(repeat("(", 10000));
  REQUIRE_OK(ParseText(repeat("not ", 31) + "a = 1"));
  refused(repeat("not ", 32) + "a = 1");
  refused(repeat("not ", 4000) + "a = 1");
  REQUIRE_OK(ParseText(repeat("a = 1 or ", 255) + "a = 1"));
  refused(repeat("a = 1 or ", 256) + "a = 1");
  REQUIRE_OK(ParseText("a in (" + repeat("1,", 1023) + "1)"));
  refused("a in (" + repeat("1,", 1024) + "1)");
  refused("a = \"" + std::string(257, 'x') + "\"");
  refused(std::string(kMaxTextBytes + 1, ' '));

  std::string deep = R"({"condition":{"variable":"a","operator":"OPERATOR_EQUAL","values":["1"]}})";
  for (int i = 0; i < 40; ++i) deep = absl::StrCat(R"({"not":{"of":)", deep, "}}");
  for (const std::string& json : {
           deep,
           std::string("{}"),
           std::string("[]"),
           std::string("{\"and\":"),
           std::string(R"({"or":{}})"),
           std::string(R"({"nor":{}})"),
           std::string(R"({"has":{"level":"LEVEL_SERIES","of":{"and":{}}}})"),
           std::string(
               R"({"condition":{"variable":"A b","operator":"OPERATOR_EQUAL","values":["1"]}})"),
           std::string(R"({"condition":{"variable":"a","values":["1"]}})"),
           std::string(R"({"condition":{"variable":"a","operator":"OPERATOR_EQUAL","values":[]}})"),
           std::string(
               R"({"condition":{"variable":"a","operator":"OPERATOR_LESS","values":["1","2"]}})"),
           std::string(R"({"condition":{"variable":"a","operator":99,"values":["1"]}})"),
       }) {
    INFO(json);
    REQUIRE_REASON(ParseJson(json), absl::StatusCode::kInvalidArgument, "EXPRESSION_INVALID");
  }
}

// A random expression in the form that texts have: no group of one, none within its own kind.
Expression Random(std::mt19937& random, int depth, int outer) {
  auto pick = [&](int n) { return static_cast<int>(random() % static_cast<unsigned>(n)); };
  Expression out;
  int kind = depth == 0 ? 4 : pick(6);
  if (kind == outer) kind = 4;
  if (kind == 0 || kind == 1) {
    for (int i = 0, n = 2 + pick(3); i < n; ++i) {
      *(kind == 0 ? out.mutable_and_()->add_of() : out.mutable_or_()->add_of()) =
          Random(random, depth - 1, kind);
    }
  } else if (kind == 2) {
    *out.mutable_not_()->mutable_of() = Random(random, depth - 1, -1);
  } else if (kind == 3) {
    out.mutable_has()->set_level(pick(2) == 0 ? v1::LEVEL_PATIENT : v1::LEVEL_STUDY);
    *out.mutable_has()->mutable_of() = Random(random, depth - 1, -1);
  } else {
    static const char* kValues[] = {"1",   "-2.5", "MR",       "C50.4", "",     "a \"b\" \\ c'd",
                                    "and", "5o",   "\xc3\xa9", "1e5",   "00.10"};
    v1::Condition& condition = *out.mutable_condition();
    condition.set_variable(std::string(1, static_cast<char>('a' + pick(26))) + "_1");
    condition.set_operator_(static_cast<v1::Operator>(1 + pick(7)));
    int n = condition.operator_() == v1::OPERATOR_IN ? 1 + pick(3) : 1;
    for (int i = 0; i < n; ++i) condition.add_values(kValues[pick(11)]);
  }
  return out;
}

TEST_CASE("expression: what is printed parses to the same expression") {
  std::mt19937 random(20270115);
  int tried = 0;
  for (int i = 0; i < 3000; ++i) {
    Expression expression = Random(random, 5, -1);
    if (!CheckShape(expression).ok()) continue;  // too many conditions
    std::string text = PrintText(expression);
    if (text.size() > kMaxTextBytes) continue;
    INFO(text);
    REQUIRE_VALUE(Expression again, ParseText(text));
    REQUIRE(MessageDifferencer::Equals(expression, again));
    ++tried;
  }
  CHECK(tried > 2000);
}

}  // namespace
}  // namespace oncomesh::query
