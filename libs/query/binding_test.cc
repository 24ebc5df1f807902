// SPDX-License-Identifier: Apache-2.0
#include "libs/query/binding.h"

#include <catch2/catch.hpp>

#include "libs/query/text.h"
#include "libs/testing/status_matchers.h"

namespace oncomesh::query {
namespace {

const terminology::Registry& Variables() { return terminology::Registry::Builtin(); }

std::string CanonicalText(const std::string& text) {
  auto parsed = ParseText(text);
  INFO(text << " " << parsed.status().ToString());
  REQUIRE(parsed.ok());
  return PrintText(Canonical(*parsed, Variables()));
}

TEST_CASE("canonical form: spelling, order, repetition and grouping do not matter") {
  for (const char* text :
       {"modality = \"MR\" and sex = \"F\"", "sex = \"female\" and modality = 'mri'",
        "(sex = \"F\") and (modality = \"MR\" and sex = \"F\")",
        "not (sex != \"F\" or modality != \"MR\")",
        "all and modality in (\"MR\", \"mr\") and "
        "sex = \"F\""}) {
    INFO(text);
    CHECK(CanonicalText(text) == "modality = \"MR\" and sex = \"F\"");
  }
  CHECK(CanonicalText("sex = \"M\" or sex = \"F\"") == "sex in (\"F\", \"M\")");
  CHECK(CanonicalText("topography = \"C50.4\" or topography = \"C50\"") == "topography = \"C50\"");
  CHECK(CanonicalText("not topography in (\"C50\", \"C34\")") ==
        "not topography in (\"C34\", \"C50\")");
  CHECK(CanonicalText("topography != \"C50\" and not topography = \"C34\"") ==
        "not topography in (\"C34\", \"C50\")");
  CHECK(CanonicalText("not age < 50.0") == "age >= 50");
  CHECK(CanonicalText("not not age <= 50") == "age <= 50");
  CHECK(CanonicalText("not patient has (not modality = \"CT\")") ==
        "not patient has (modality != \"CT\")");
  CHECK(CanonicalText("not study has (modality = \"CT\" and age < 50)") ==
        "not study has (age < 50 and modality = \"CT\")");
  CHECK(CanonicalText("all") == "all");
  CHECK(CanonicalText("not all") == "not all");
  CHECK(CanonicalText("all and all") == "all");
}

TEST_CASE("canonical form: it is its own canonical form") {
  for (const char* text :
       {"not (sex = \"F\" and (age < 50 or modality != \"MR\"))", "not patient has (all)",
        "patient has (modality = \"CT\") and not study has (not modality = \"PT\" or age > 3)",
        "slice_thickness_mm <= 2.50 or slice_thickness_mm = 1 or slice_thickness_mm = 3"}) {
    std::string once = CanonicalText(text);
    CHECK(CanonicalText(once) == once);
  }
}

TEST_CASE("binding: each part that cannot be evaluated is named with its reason") {
  auto first = [&](const char* text) {
    auto parsed = ParseText(text);
    REQUIRE(parsed.ok());
    return FirstProblem(Bind(*parsed, Variables()));
  };
  REQUIRE_OK(first("modality = \"MR\""));
  REQUIRE_REASON(first("modalty = \"MR\""), absl::StatusCode::kInvalidArgument, "VARIABLE_UNKNOWN");
  CHECK(std::string(first("modalty = \"MR\"").message()).find("did you mean 'modality'") !=
        std::string::npos);
  REQUIRE_REASON(first("sex < \"F\""), absl::StatusCode::kInvalidArgument, "OPERATOR_INVALID");
  REQUIRE_REASON(first("sex = \"X\""), absl::StatusCode::kInvalidArgument, "VALUE_INVALID");
  REQUIRE_REASON(first("age = \"old\""), absl::StatusCode::kInvalidArgument, "VALUE_INVALID");
  REQUIRE_REASON(first("topography = \"breast\""), absl::StatusCode::kInvalidArgument,
                 "VALUE_INVALID");
  REQUIRE_VALUE(v1::Expression two, ParseText("sex = \"X\" or sex = \"F\" or nothing = 1"));
  Binding binding = Bind(two, Variables());
  REQUIRE(binding.problems.size() == 2);
  CHECK(binding.problems[0].part == "sex = \"X\"");
  CHECK(binding.problems[1].part == "nothing = 1");
}

TEST_CASE("binding: an expression stands at the finest level it speaks of") {
  auto level = [&](const char* text) {
    auto parsed = ParseText(text);
    REQUIRE(parsed.ok());
    return LevelOf(Bind(*parsed, Variables()).root);
  };
  CHECK(level("sex = \"F\"") == terminology::Level::kPatient);
  CHECK(level("sex = \"F\" and age > 3") == terminology::Level::kStudy);
  CHECK(level("sex = \"F\" or modality = \"CT\"") == terminology::Level::kSeries);
  CHECK(level("patient has (modality = \"CT\")") == terminology::Level::kPatient);
  CHECK(level("all") == terminology::Level::kPatient);
}

}  // namespace
}  // namespace oncomesh::query
