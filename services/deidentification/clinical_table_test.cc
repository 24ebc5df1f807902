// SPDX-License-Identifier: Apache-2.0
#include "services/deidentification/clinical_table.h"

#include <catch2/catch.hpp>

#include "absl/strings/str_split.h"
#include "libs/testing/status_matchers.h"
#include "services/deidentification/values.h"

namespace oncomesh::deidentification {
namespace {

Deidentifier Research() {
  return Deidentifier(*LoadProfile("research"), std::string(kProjectKeyBytes, 'k'));
}

TEST_CASE("table: identifiers become codes, dates move, ages are capped, free text goes",
          "[deidentification]") {
  Deidentifier research = Research();
  REQUIRE_VALUE(
      TableOutcome out,
      PseudonymiseTable("\xef\xbb\xbfPatientID,Name,sex,age_at_diagnosis,diagnosis_date,topography,"
                        "comment,psa,who\r\n"
                        "P1,\"Zqname, Zq\",F,93,2019-05-14,C50.4,Zqcomment,4.25,Zqaunt\r\n"
                        "P2,Zqother,M,54,2020-01-07,C49.2,,12,\r\n",
                        research));
  const Keys& keys = research.pseudonym_keys();
  std::vector<std::string> lines = absl::StrSplit(out.csv, '\n');
  REQUIRE(lines.size() == 4);
  CHECK(lines[0] == "patient_id,sex,age_at_diagnosis,diagnosis_date,topography,psa");
  std::vector<std::string> first = absl::StrSplit(lines[1], ',');
  CHECK(first[0] == keys.PatientCode("P1"));
  CHECK(first[1] == "F");
  CHECK(first[2] == "90");
  CHECK(first[3].size() == 10);
  CHECK(first[3] != "2019-05-14");
  CHECK(first[4] == "C50.4");
  CHECK(first[5] == "4.25");
  CHECK(out.csv.find("Zq") == std::string::npos);
  CHECK(out.rows == 2);
  CHECK(out.released == 2);
}

TEST_CASE("table: a row that cannot be read is quarantined by its line", "[deidentification]") {
  Deidentifier research = Research();
  REQUIRE_VALUE(TableOutcome out, PseudonymiseTable("patient_id;visit_date;age\n"
                                                    "P1;2019-05-14;50\n"
                                                    "P2;2019-05-14\n"
                                                    ";2019-05-14;50\n"
                                                    "P3;14/05/2019;50\n"
                                                    "\n"
                                                    "P4;20190514;old\n"
                                                    "P5;20190514;50\n"
                                                    "P6;\"2019;50\n",
                                                    research));
  CHECK(out.rows == 7);
  CHECK(out.released == 2);
  REQUIRE(out.quarantined.size() == 5);
  std::vector<std::pair<uint64_t, std::string>> found;
  for (const QuarantinedRow& row : out.quarantined) found.emplace_back(row.line, row.reason);
  CHECK(found == std::vector<std::pair<uint64_t, std::string>>{{3, "ROW_COLUMNS"},
                                                               {4, "ROW_PATIENT_MISSING"},
                                                               {5, "ROW_DATE_INVALID"},
                                                               {7, "ROW_AGE_INVALID"},
                                                               {9, "ROW_QUOTES"}});
}

TEST_CASE("table: dates of a patient keep their distance, in images and tables alike",
          "[deidentification]") {
  Deidentifier research = Research();
  REQUIRE_VALUE(TableOutcome out,
                PseudonymiseTable("patient_id,a_date,b_date\nP1,20200101,20200131\n", research));
  std::vector<std::string> cells =
      absl::StrSplit(std::vector<std::string>(absl::StrSplit(out.csv, '\n'))[1], ',');
  int days = research.pseudonym_keys().DateOffsetDays("P1");
  CHECK(cells[1] == *ShiftDates("20200101", days));
  CHECK(cells[2] == *ShiftDates("20200131", days));
}

TEST_CASE("table: what is no table is refused with a reason", "[deidentification]") {
  Deidentifier research = Research();
  REQUIRE_REASON(PseudonymiseTable("", research), absl::StatusCode::kInvalidArgument,
                 "TABLE_EMPTY");
  REQUIRE_REASON(PseudonymiseTable("a,b\n1,2\n", research), absl::StatusCode::kInvalidArgument,
                 "TABLE_PATIENT_COLUMN_MISSING");
  REQUIRE_REASON(PseudonymiseTable("patient_id,patient_id\n1,2\n", research),
                 absl::StatusCode::kInvalidArgument, "TABLE_HEADING_INVALID");
  REQUIRE_REASON(PseudonymiseTable("patient_id,\n1,2\n", research),
                 absl::StatusCode::kInvalidArgument, "TABLE_HEADING_INVALID");
}

}  // namespace
}  // namespace oncomesh::deidentification
