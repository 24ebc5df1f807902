// SPDX-License-Identifier: Apache-2.0
#include "services/deidentification/clinical_table.h"

#include <sys/resource.h>

#include <catch2/catch.hpp>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
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
  CHECK(lines[0] == "patient_id,sex,age_at_diagnosis,diagnosis_date,topography");
  std::vector<std::string> first = absl::StrSplit(lines[1], ',');
  CHECK(first[0] == keys.PatientCode("P1"));
  CHECK(first[1] == "F");
  CHECK(first[2] == "90");
  CHECK(first[3].size() == 10);
  CHECK(first[3] != "2019-05-14");
  CHECK(first[4] == "C50.4");
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
  REQUIRE_VALUE(
      TableOutcome out,
      PseudonymiseTable("patient_id,diagnosis_date,death_date\nP1,20200101,20200131\n", research));
  std::vector<std::string> cells =
      absl::StrSplit(std::vector<std::string>(absl::StrSplit(out.csv, '\n'))[1], ',');
  int days = research.pseudonym_keys().DateOffsetDays("P1");
  CHECK(cells[1] == *ShiftDates("20200101", days));
  CHECK(cells[2] == *ShiftDates("20200131", days));
}

TEST_CASE("table: what follows a date is a time of day or the row is not released",
          "[deidentification]") {
  Deidentifier research = Research();
  for (const char* time : {"", " 10", "T10:30", " 10:30:15", "T10:30:15.25Z", "T10:30+01:00",
                           "T10:30:15-0500", "T10+01"}) {
    INFO(time);
    REQUIRE_VALUE(TableOutcome out,
                  PseudonymiseTable(
                      absl::StrCat("patient_id,visit_date\nP1,2020-01-01", time, "\n"), research));
    CHECK(out.released == 1);
    CHECK(absl::EndsWith(out.csv, absl::StrCat(time, "\n")));
  }
  for (const char* text : {" 0795551234", "T1030", " 10:3", " 10:30 079", "T10:30:15.", "TZ",
                           " 10:30+5551234", " +4930555"}) {
    INFO(text);
    REQUIRE_VALUE(TableOutcome out,
                  PseudonymiseTable(
                      absl::StrCat("patient_id,visit_date\nP1,2020-01-01", text, "\n"), research));
    REQUIRE(out.quarantined.size() == 1);
    CHECK(out.quarantined[0].reason == "ROW_DATE_INVALID");
  }
}

// A column beside the patient's, and what the released heading is.
std::string HeadingWith(absl::string_view column, absl::string_view cells,
                        const Profile& profile = *LoadProfile("research")) {
  std::string csv = absl::StrCat("patient_id,", column, "\n");
  int patient = 0;
  for (absl::string_view cell : absl::StrSplit(cells, '|')) {
    absl::StrAppend(&csv, "P", ++patient, ",", cell, "\n");
  }
  absl::StatusOr<TableOutcome> out =
      PseudonymiseTable(csv, Deidentifier(profile, std::string(kProjectKeyBytes, 'k')));
  REQUIRE_OK(out);
  return out->csv.substr(0, out->csv.find('\n'));
}

TEST_CASE("table: a column that nobody knows does not leave, whatever its cells look like",
          "[deidentification]") {
  const std::pair<const char*, const char*> kColumns[] = {
      {"tel", "555-123-4567|555-123-4568"},
      {"socsec", "123-45-6789|123-45-6780"},
      {"path_nr", "H19-1234|H19-1235"},
      {"birthyear", "1937|1950"},
      {"BirthYear", "1937|1950"},
      {"geburtsdatum", "1937-02-19|1950-01-02"},
      {"geb_date", "1937-02-19|1950-01-02"},
      {"date_naissance", "1937-02-19|1950-01-02"},
      {"fecha_nacimiento", "1937-02-19|1950-01-02"},
      {"b_date", "1937-02-19|1950-01-02"},
      {"bdate", "1937-02-19|1950-01-02"},
      {"DateOfB", "1937-02-19|1950-01-02"},
      {"record_no", "12345|12346"},
      {"plz", "10115|80331"},
      {"initials2", "AB|CD"},
      {"latitude", "52.5163|48.1374"},
      {"psa", "4.25|12"},
      {"age_days", "33000|20000"},
      // Columns of variables in which something else stands.
      {"topography", "C50.4|555-123-4567"},
      {"sex", "F|Zqname"},
      {"histology", "8500/3|123-45-6789"},
      {"survival_days", "100|2019-05-14"},
  };
  for (const auto& [column, cells] : kColumns) {
    INFO(column);
    CHECK(HeadingWith(column, cells) == "patient_id");
  }
  Profile mine = *LoadProfile("research");
  mine.table_columns = {"psa"};
  CHECK(HeadingWith("PSA", "4.25|12", mine) == "patient_id,PSA");
}

TEST_CASE("table: the columns of every variable of the registry come through",
          "[deidentification]") {
  const std::pair<const char*, const char*> kColumns[] = {
      {"sex", "F|M|O"},
      {"age_at_diagnosis", "54|93"},
      {"topography", "C50|C49.2|unknown"},
      {"histology", "8500/3"},
      {"morphology", "8890/3"},
      {"diagnosis", "C50.9|C49.2"},
      {"laterality", "left|R"},
      {"stage", "IIIA|IV|I"},
      {"grade", "2|G3|9"},
      {"vital_status", "alive|dead"},
      {"survival_days", "120|2400"},
      {"last_follow_up", "2019-05-14"},
      {"date", "2019-05-14"},
      {"Date of diagnosis", "2019-05-14"},
      {"surgery_date_1", "2019-05-14"},
      {"dateOfLastFollowUp", "2019-05-14"},
  };
  for (const auto& [column, cells] : kColumns) {
    INFO(column);
    CHECK(HeadingWith(column, cells) == absl::StrCat("patient_id,", column));
  }
}

TEST_CASE("table: ages are capped under every name and in DICOM's form", "[deidentification]") {
  Deidentifier research = Research();
  REQUIRE_VALUE(
      TableOutcome out,
      PseudonymiseTable("patient_id,PatientAge,current_age,age\nP1,095Y,97,054Y\n", research));
  CHECK(absl::EndsWith(out.csv, ",090Y,90,054Y\n"));
}

TEST_CASE("table: a heading leaves only when every word of it is known", "[deidentification]") {
  for (const char* column :
       {"age Muster Jan 0795551234", "age_0795551234", "age_mo", "age_m", "age_wk", "age_d",
        "ageDays", "age_months", "age_group", "age_day", "visit_date_0795551234"}) {
    INFO(column);
    CHECK(HeadingWith(column, "54|20190514") == "patient_id");
  }
  for (const char* column : {"age", "Age (years)", "age_at_diagnosis", "patient age at death",
                             "AgeAtSurgery", "age_yrs", "age_2"}) {
    INFO(column);
    CHECK(HeadingWith(column, "54|93") == absl::StrCat("patient_id,", column));
  }
}

TEST_CASE("table: the patient is in the column called patient_id, wherever it stands",
          "[deidentification]") {
  Deidentifier research = Research();
  const std::string code = research.pseudonym_keys().PatientCode("P1");
  for (const char* other : {"case_id", "subject", "pid", "mrn", "participant"}) {
    INFO(other);
    REQUIRE_VALUE(TableOutcome out,
                  PseudonymiseTable(absl::StrCat(other, ",Patient ID,sex\n1,P1,F\n"), research));
    CHECK(out.csv == absl::StrCat("patient_id,sex\n", code, ",F\n"));
    REQUIRE_VALUE(TableOutcome alone,
                  PseudonymiseTable(absl::StrCat(other, ",sex\nP1,F\n"), research));
    CHECK(alone.csv == absl::StrCat("patient_id,sex\n", code, ",F\n"));
  }
  for (const char* both : {"case_id,mrn", "patient,subject_id", "Patient ID,patient_id"}) {
    INFO(both);
    REQUIRE_REASON(PseudonymiseTable(absl::StrCat(both, ",sex\n1,P1,F\n"), research),
                   absl::StatusCode::kInvalidArgument, "TABLE_PATIENT_COLUMN_AMBIGUOUS");
  }
}

TEST_CASE("table: who issued an identifier is asked in one way of rows and objects",
          "[deidentification]") {
  Profile profile = *LoadProfile("research");
  profile.home_issuer = "HOME";
  Deidentifier research(profile, std::string(kProjectKeyBytes, 'k'));
  REQUIRE_VALUE(TableOutcome out, PseudonymiseTable("patient_id,issuer_of_patient_id\n"
                                                    "P1,\nP1,HOME\nP1, OTHER \nP1,OTHER\n",
                                                    research));
  std::vector<std::string> codes = absl::StrSplit(out.csv, '\n');
  REQUIRE(codes.size() == 6);
  auto code = [&](absl::string_view issuer) {
    return research.pseudonym_keys().PatientCode(research.PatientOf("P1", issuer));
  };
  CHECK(codes[1] == code(""));
  CHECK(codes[2] == code("HOME"));
  CHECK(codes[2] == codes[1]);
  CHECK(codes[3] == code("OTHER"));
  CHECK(codes[4] == codes[3]);
  CHECK(codes[4] != codes[1]);
  CHECK(out.patients == std::set<std::string>{codes[1], codes[3]});
}

TEST_CASE("table: a line of separators costs no memory", "[deidentification]") {
  Deidentifier research = Research();
  const std::string commas(8 << 20, ',');
  REQUIRE_REASON(PseudonymiseTable("patient_id" + commas, research),
                 absl::StatusCode::kInvalidArgument, "TABLE_HEADING_INVALID");
  rusage before{}, after{};
  getrusage(RUSAGE_SELF, &before);
  REQUIRE_VALUE(TableOutcome out, PseudonymiseTable("patient_id,sex\nP1" + commas, research));
  getrusage(RUSAGE_SELF, &after);
  REQUIRE(out.quarantined.size() == 1);
  CHECK(out.quarantined[0].reason == "ROW_COLUMNS");
  CHECK(after.ru_maxrss - before.ru_maxrss < 32 << 10);
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
