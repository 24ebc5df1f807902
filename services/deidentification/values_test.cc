// SPDX-License-Identifier: Apache-2.0
#include "services/deidentification/values.h"

#include <catch2/catch.hpp>

#include "services/deidentification/vocabulary.h"

namespace oncomesh::deidentification {
namespace {

TEST_CASE("dates: shifted by days, in every form that DICOM knows", "[deidentification]") {
  struct {
    const char *in, *out;
  } dates[] = {{"20200301", "20200223"},
               {"20200229", "20200222"},
               {"20210101", "20201225"},
               {"2020.03.01", "20200223"},
               {"18991231", "18991224"},
               {"20200301\\20200308", "20200223\\20200301"},
               {"20200301-20200308", "20200223-20200301"},
               {"20200301-", "20200223-"},
               {"-20200301", "-20200223"},
               {"", ""},
               {"20200301 ", "20200223"}};
  for (const auto& d : dates) {
    INFO(d.in);
    auto out = ShiftDates(d.in, -7);
    REQUIRE(out.has_value());
    CHECK(*out == d.out);
  }
  for (const char* bad : {"20200230", "2020", "202003", "20201301", "2020-03-01", "yesterday",
                          "20200301\\x", "00000000", "2020030"}) {
    INFO(bad);
    CHECK_FALSE(ShiftDates(bad, -7).has_value());
  }
}

TEST_CASE("date and time: the day moves, the time and the offset from UTC stay",
          "[deidentification]") {
  struct {
    const char *in, *out;
  } times[] = {{"20201201093456+1100", "20201124093456+1100"},
               {"20201201093456.123456-0500", "20201124093456.123456-0500"},
               {"20201201", "20201124"},
               {"2020120109", "2020112409"},
               {"202012", "202012"},
               {"2020", "2020"},
               {"20201201235960", "20201124235960"},
               {"20201201\\20201202", "20201124\\20201125"}};
  for (const auto& t : times) {
    INFO(t.in);
    auto out = ShiftDateTimes(t.in, -7);
    REQUIRE(out.has_value());
    CHECK(*out == t.out);
  }
  CHECK(*ShiftDateTimes("2020", -3640) == "2010");
  for (const char* bad :
       {"20201301", "20201", "20201201\n", "20201201093456.1234567", "20201201093456+11", "noon"}) {
    INFO(bad);
    CHECK_FALSE(ShiftDateTimes(bad, -7).has_value());
  }
}

TEST_CASE("ages: from 90 years on told as 90, in every unit", "[deidentification]") {
  CHECK(*CapAges("095Y") == "090Y");
  CHECK(*CapAges("090Y") == "090Y");
  CHECK(*CapAges("089Y") == "089Y");
  CHECK(*CapAges("003D") == "003D");
  CHECK(*CapAges("999M") == "999M");
  for (const char* bad : {"95Y", "95", "0950", "abcY", "95 Y"}) CHECK_FALSE(CapAges(bad));
}

TEST_CASE("uids: only what the standard assigned is well known", "[deidentification]") {
  CHECK(IsWellKnownUid("1.2.840.10008.5.1.4.1.1.2"));
  CHECK(IsWellKnownUid("1.2.840.10008.1.4.1.1"));
  CHECK_FALSE(IsWellKnownUid("1.2.840.100080.5"));
  CHECK_FALSE(IsWellKnownUid("1.2.840.113619.2.1"));
  CHECK_FALSE(IsWellKnownUid("1.2.840.10008.20190514101112.123456789012"));
}

TEST_CASE("vocabulary: medical words stay, everything else goes", "[deidentification]") {
  Vocabulary vocabulary;
  IdentifyingWords none;
  CHECK(vocabulary.Clean("GTV_Mass", none) == "GTV_Mass");
  CHECK(vocabulary.Clean("CT CHEST Smith", none) == "CT CHEST");
  CHECK(vocabulary.Clean("Smith CT", none) == "CT");
  CHECK(vocabulary.Clean("T1 AXIAL 5.0mm", none) == "T1 AXIAL 5.0mm");
  CHECK(vocabulary.Clean("CT 12.03.1998", none) == "CT");
  CHECK(vocabulary.Clean("CT 4711234", none) == "CT");
  CHECK(vocabulary.Clean("CT 10:30", none) == "CT");
  CHECK(vocabulary.Clean("12", none) == "");
  CHECK(vocabulary.Clean("M\xfcller CT", none) == "CT");
  CHECK(vocabulary.Clean("\x1b$B0B0B CT", none) == "");
  IdentifyingWords patient;
  AddIdentifyingWords("STS_025^Bone", patient);
  CHECK(vocabulary.Clean("BONE 025 CT", patient) == "CT");
  CHECK(vocabulary.Clean("STS025 CT 25", patient) == "CT 25");
}

}  // namespace
}  // namespace oncomesh::deidentification
