// SPDX-License-Identifier: Apache-2.0
#include "services/catalogue/clinical_table.h"

#include <catch2/catch.hpp>

#include "libs/testing/status_matchers.h"

namespace oncomesh::catalogue {
namespace {

absl::StatusOr<ClinicalTable> Read(absl::string_view csv) {
  return ReadClinicalTable(csv, terminology::Registry::Builtin());
}

TEST_CASE("clinical table: quotes, line ends and the byte order mark are those of RFC 4180") {
  REQUIRE_VALUE(ClinicalTable table, Read("\xef\xbb\xbfPatient_ID,\"sex\",note,Topography\r\n"
                                          "A1,F,\"a, \"\"b\"\"\r\nc\",\"C50.4\"\r\n"
                                          "B2,male,,\n"
                                          "\n"
                                          "C3,?,x,c34"));
  REQUIRE(table.rows.size() == 3);
  CHECK(table.passed_over == 0);
  CHECK(table.rows[0].patient_code == "A1");
  CHECK(table.rows[0].values == Values{{"sex", "F"}, {"topography", "C50.4"}});
  CHECK(table.rows[1].values == Values{{"sex", "M"}});
  CHECK(table.rows[2].values == Values{{"topography", "C34"}});
}

TEST_CASE("clinical table: rows without patient or with other columns are passed over") {
  REQUIRE_VALUE(ClinicalTable table, Read("patient_id,sex\n,F\nA1\nA1,F,x\nA 1,F\nA1,F\n"));
  CHECK(table.rows.size() == 1);
  CHECK(table.passed_over == 4);
}

TEST_CASE("clinical table: what is no table is refused") {
  for (const char* csv : {"", "sex,age\nF,3\n", "patient_id,sex\nA1,\"F\n"}) {
    INFO(csv);
    REQUIRE_REASON(Read(csv), absl::StatusCode::kInvalidArgument, "TABLE_UNREADABLE");
  }
  REQUIRE_REASON(Read("patient_id" + std::string(1024, ',')), absl::StatusCode::kInvalidArgument,
                 "TABLE_UNREADABLE");
  REQUIRE_VALUE(ClinicalTable heading, Read("patient_id"));
  CHECK(heading.rows.empty());
}

}  // namespace
}  // namespace oncomesh::catalogue
