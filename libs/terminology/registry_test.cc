// SPDX-License-Identifier: Apache-2.0
#include "libs/terminology/registry.h"

#include <catch2/catch.hpp>
#include <set>
#include <utility>

#include "absl/strings/str_cat.h"
#include "libs/testing/status_matchers.h"

namespace oncomesh::terminology {
namespace {

TEST_CASE("registry: the compiled-in variables have the meaning the documents give them") {
  const Registry& registry = Registry::Builtin();
  for (const char* name :
       {"modality", "manufacturer", "body_part", "slice_thickness_mm", "sex", "age", "study_year",
        "topography", "histology", "stage", "grade", "diagnosis", "vital_status"}) {
    INFO(name);
    REQUIRE(registry.Find(name) != nullptr);
    CHECK_FALSE(registry.Find(name)->description.empty());
  }
  CHECK(registry.Find("modality")->level == Level::kSeries);
  CHECK(registry.Find("age")->level == Level::kStudy);
  CHECK(registry.Find("sex")->level == Level::kPatient);
  CHECK(registry.Find("slice_thickness_mm")->unit == "mm");
  CHECK(registry.Find("no_such_thing") == nullptr);
}

TEST_CASE("registry: a code is below another after a separator, never by a shared beginning") {
  const Variable& topography = *Registry::Builtin().Find("topography");
  CHECK(topography.IsOrIsBelow("C50.4", "C50"));
  CHECK(topography.IsOrIsBelow("C50", "C50"));
  CHECK_FALSE(topography.IsOrIsBelow("C50", "C50.4"));
  CHECK_FALSE(topography.IsOrIsBelow("C51.0", "C50"));
  CHECK_FALSE(topography.IsOrIsBelow("C50.4", "C5"));
  const Variable& stage = *Registry::Builtin().Find("stage");
  CHECK(stage.IsOrIsBelow("IIA", "II"));
  CHECK_FALSE(stage.IsOrIsBelow("III", "II"));
  CHECK_FALSE(stage.IsOrIsBelow("IIIA", "II"));
  const Variable& histology = *Registry::Builtin().Find("histology");
  CHECK(histology.IsOrIsBelow("8500/3", "8500"));
}

TEST_CASE("registry: codes have one spelling") {
  const Registry& registry = Registry::Builtin();
  auto code = [&](const char* variable, const char* text) {
    auto value = registry.Find(variable)->NormaliseCode(text);
    return value.ok() ? *value : absl::StrCat("error ", value.status().message());
  };
  CHECK(code("sex", "female") == "F");
  CHECK(code("sex", " F ") == "F");
  CHECK(code("modality", "pet") == "PT");
  CHECK(code("modality", "XA") == "XA");
  CHECK(code("manufacturer", "GE  MEDICAL SYSTEMS") == "GE");
  CHECK(code("manufacturer", "Toshiba_MEC") == "CANON");
  CHECK(code("topography", "c50.4") == "C50.4");
  CHECK(code("histology", "8500/3") == "8500/3");
  CHECK(code("diagnosis", "C50.41") == "C50.41");
  CHECK(code("stage", "2a") == "IIA");
  CHECK(code("body_part", "extremity") == "EXTREMITY");
}

TEST_CASE("registry: what is no value of a variable is refused without repeating it") {
  const Registry& registry = Registry::Builtin();
  for (const char* text : {"C5", "C50.", "C50.45", "50.4", "C50.4x", "", " "}) {
    INFO(text);
    REQUIRE_REASON(registry.Find("topography")->NormaliseCode(text),
                   absl::StatusCode::kInvalidArgument, "VALUE_INVALID");
  }
  auto status = registry.Find("sex")->NormaliseCode("Mustermann").status();
  REQUIRE_REASON(status, absl::StatusCode::kInvalidArgument, "VALUE_INVALID");
  CHECK(std::string(status.message()).find("Mustermann") == std::string::npos);
  CHECK(std::string(status.message()).find("F, M, O") != std::string::npos);
  CHECK_FALSE(registry.Find("body_part")->NormaliseCode(std::string(65, 'A')).ok());
  CHECK_FALSE(registry.Find("body_part")
                  ->NormaliseCode(std::string("A\x01"
                                              "B"))
                  .ok());
}

TEST_CASE("registry: numbers are decimal, finite, whole where they must be, and in range") {
  const Registry& registry = Registry::Builtin();
  const Variable& age = *registry.Find("age");
  const Variable& thickness = *registry.Find("slice_thickness_mm");
  REQUIRE_VALUE(double fifty, age.ParseNumber("50.0"));
  CHECK(fifty == 50);
  REQUIRE_VALUE(double thin, thickness.ParseNumber("0.625"));
  CHECK(thin == 0.625);
  for (const char* text : {"", "x", "49.5", "-1", "131", "0x10", "inf", "nan", "1e999", "5 0"}) {
    INFO(text);
    REQUIRE_REASON(age.ParseNumber(text), absl::StatusCode::kInvalidArgument, "VALUE_INVALID");
  }
  CHECK(FormatNumber(50) == "50");
  CHECK(FormatNumber(0.625) == "0.625");
  CHECK(FormatNumber(3.26999999999998) == "3.26999999999998");
  CHECK(FormatNumber(-0.0) == "0");
}

TEST_CASE("registry: numbers fall into labelled bands") {
  const Variable& age = *Registry::Builtin().Find("age");
  CHECK(age.BandLabel(age.BandOf(50)) == "50-59");
  CHECK(age.BandLabel(age.BandOf(59)) == "50-59");
  CHECK(age.BandLabel(age.BandOf(90)) == "90+");
  const Variable& thickness = *Registry::Builtin().Find("slice_thickness_mm");
  CHECK(thickness.BandLabel(thickness.BandOf(1.25)) == "1-2");
  CHECK(thickness.BandOf(-1) == -1);
}

TEST_CASE("registry: a mistyped name finds the one meant") {
  CHECK(Registry::Builtin().Nearest("modalty") == "modality");
  CHECK(Registry::Builtin().Nearest("topograpy") == "topography");
  CHECK(Registry::Builtin().Nearest("xyzzyxyzzy").empty());
  // Longer than a name can be: nothing is near, and nothing is compared.
  CHECK(Registry::Builtin().Nearest("age" + std::string(61, '_')).empty());
  CHECK(Registry::Builtin().Nearest(std::string(1 << 20, 'a')).empty());
}

TEST_CASE("registry: a site's file adds variables; a broken one is refused by entry") {
  auto file = [](const std::string& variables) {
    return absl::StrCat(R"({"format": "oncomesh-variables/1", "codeSystems": [{"name": "YN"}],
                            "variables": [)",
                        variables, "]}");
  };
  const std::string good = R"({"name": "smoker", "level": "patient", "type": "code",
      "codeSystem": "YN", "closed": true, "description": "ever smoked",
      "values": [{"code": "YES"}, {"code": "NO"}], "source": {"clinical": ["smoker"]}})";
  REQUIRE_VALUE(Registry registry, Registry::Parse({file(good)}));
  REQUIRE(registry.Find("smoker") != nullptr);
  for (
      const std::string& bad : std::vector<std::string>{
          absl::StrCat(good, ",", good),
          R"({"name": "Smoker", "level": "patient", "type": "code"})",
          R"({"name": "has", "level": "patient", "type": "code"})",
          R"({"name": "a", "level": "tumour", "type": "code", "description": "d"})",
          R"({"name": "a", "level": "patient", "type": "code", "codeSystem": "?", "description": "d"})",
          R"({"name": "a", "level": "patient", "type": "integer", "description": "d"})",
          R"({"name": "a", "level": "patient", "type": "integer", "description": "d",
               "range": [0, 9], "bands": [3, 2]})",
          R"({"name": "a", "level": "series", "type": "code", "codeSystem": "YN",
               "description": "d", "source": {"clinical": ["a"]}})",
          R"({"name": "a", "level": "patient", "type": "code", "codeSystem": "YN",
               "description": "d", "values": [{"code": "X", "parent": "Y"}]})"}) {
    INFO(bad);
    REQUIRE_REASON(Registry::Parse({file(bad)}), absl::StatusCode::kInvalidArgument,
                   "REGISTRY_INVALID");
  }
  const std::string empty_code = R"({"name": "a", "level": "patient", "type": "code",
      "codeSystem": "YN", "description": "d", "values": [{"code": ""}]})";
  REQUIRE_REASON(Registry::Parse({file(empty_code)}), absl::StatusCode::kInvalidArgument,
                 "REGISTRY_INVALID");
  // The form of a code is read by its brackets.
  for (auto [shape, works] : {std::pair{"A9[.9[9]]", true},
                              {"", true},
                              {"A9[", false},
                              {"A[9]9", false},
                              {"A]", false},
                              {"[A[9]", false},
                              {"]A[", false}}) {
    INFO(shape);
    auto parsed = Registry::Parse({absl::StrCat(R"({"format": "oncomesh-variables/1",
        "codeSystems": [{"name": "S", "shape": ")",
                                                shape, R"("}], "variables": []})")});
    REQUIRE(parsed.ok() == works);
  }
  REQUIRE_REASON(Registry::Parse({"{"}), absl::StatusCode::kInvalidArgument, "REGISTRY_INVALID");
}

}  // namespace
}  // namespace oncomesh::terminology
