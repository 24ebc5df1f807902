// SPDX-License-Identifier: Apache-2.0
#include "services/deidentification/values.h"

#include <catch2/catch.hpp>

#include "services/deidentification/value_forms.h"
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

TEST_CASE("uids: identities are never kept, whatever root they have", "[deidentification]") {
  // Instance UIDs that some devices put under the standard's root.
  for (const char* uid : {"1.2.840.10008.19700312.12345", "1.2.840.10008.79.555.12.34.1950",
                          "1.2.840.10008.1.4.1.1", "1.2.840.10008.5.1.4.1.1.2"}) {
    INFO(uid);
    for (dicom::Tag tag : {0x00080018u, 0x0020000du, 0x0020000eu, 0x00081155u, 0x00080058u}) {
      CHECK_FALSE(KeepsUid(tag, uid));
    }
  }
  CHECK(KeepsUid(0x00200052, "1.2.840.10008.1.4.1.1"));
  CHECK(KeepsUid(0x00200200, "1.2.840.10008.15.1.1"));
  CHECK(KeepsUid(0x00281199, "1.2.840.10008.1.5.2"));
  CHECK_FALSE(KeepsUid(0x00200052, "1.2.840.10008.79.555.12.34.1950"));
  CHECK_FALSE(KeepsUid(0x00200052, "1.2.840.10008.1.4.1.19700312"));
}

TEST_CASE("uids: of classes the public ones are known", "[deidentification]") {
  for (const char* uid :
       {"1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.1.2.4.90", "1.2.840.10008.6.1.1024",
        "1.2.840.10008.2.16.4", "2.16.840.1.113883.6.96", "1.2.840.10008.5.1.4.1.1.481.3"}) {
    INFO(uid);
    CHECK(IsPublicClassUid(uid));
  }
  for (const char* uid : {"1.2.840.10008.5.1.4.1.1.1950", "1.2.840.10008.5.79.555.12.34",
                          "1.2.840.10008.6.1.19500312", "1.2.840.100080.5", "1.3.12.2.1107.5.9.1",
                          "2.16.840.1.113883.6.19500312", ""}) {
    INFO(uid);
    CHECK_FALSE(IsPublicClassUid(uid));
  }
}

TEST_CASE("forms: times are times of day", "[deidentification]") {
  for (const char* time : {"10", "1010", "101010", "101010.123456", "235960", "10:10:10", "10:10",
                           "101010\\111111", "1010-1200", "-1200", "1010-", "101010 ", ""}) {
    INFO(time);
    CHECK(IsTimeText(time));
  }
  for (const char* text : {"19700312", "101010\\19700312", "240000", "106010", "1970", "9",
                           "10.10.10", "079 555", "101010.1234567", "-", "noon"}) {
    INFO(text);
    CHECK_FALSE(IsTimeText(text));
  }
}

TEST_CASE("forms: numbers are numbers", "[deidentification]") {
  for (const char* number : {"1", "-1.5", "+.5", "5.", "1e5", "-1.25E-07", " 7 ", "1\\2\\-3.5", "",
                             "\\1", "0.70710678118654757274"}) {
    INFO(number);
    CHECK(IsNumberText(number));
  }
  for (const char* text : {"079 555 12 34", "12.03.1950", "079-555-12", "1e", "e5", ".", "--1",
                           "1\\12 34", "1,5", "x"}) {
    INFO(text);
    CHECK_FALSE(IsNumberText(text));
  }
  CHECK(IsNumbers(absl::string_view("\1\0", 2), 2, 1));
  CHECK_FALSE(IsNumbers(absl::string_view("\1\0\2\0", 4), 2, 1));
  CHECK_FALSE(IsNumbers("abc", 2, 0));
  CHECK_FALSE(IsNumbers("Dr Muster Bern 079 555..", 4, 0));
  CHECK(IsNumbers(std::string(64, '\0'), 8, 0));
}

TEST_CASE("forms: a coded string holds no date, no telephone number and no name of two words",
          "[deidentification]") {
  Vocabulary vocabulary;
  constexpr dicom::Tag kImageType = 0x00080008, kBodyPart = 0x00180015;
  for (const char* term : {"ORIGINAL", "CT_SOM5 SEQ", "HELICAL MODE", "PALETTE COLOR",
                           "CYLINDRICAL RING", "YBR_FULL_422", "ISO_IR 192", "ISO 2022 IR 87",
                           "ISO_10918_1", "ISO_15444_1", "FFS", "STEP AND SHOOT", ""}) {
    INFO(term);
    CHECK(IsCodeString(kImageType, term, vocabulary));
  }
  for (const char* text : {"19700312", "079 555 12 34", "12.03.70", "DR MUSTER BERN", "Chest",
                           "ISO 1970-03-12", "SEVENTEEN LETTERS"}) {
    INFO(text);
    CHECK_FALSE(IsCodeString(kImageType, text, vocabulary));
  }
  for (const char* part : {"CHEST", "TSPINE", "WHOLE BODY", "CHESTABDPELVIS", "EXTREMITY",
                           "CORONARY ARTERY", "HEADNECK"}) {
    INFO(part);
    CHECK(IsCodeString(kBodyPart, part, vocabulary));
  }
  for (const char* text : {"MUSTER", "DR MUSTER BERN", "ROOM_12", "079 555"}) {
    INFO(text);
    CHECK_FALSE(IsCodeString(kBodyPart, text, vocabulary));
  }
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
  CHECK(vocabulary.Clean("PET 12x3", none) == "PET 12 3");
}

TEST_CASE("vocabulary: numbers that belong together are told apart by nothing between them",
          "[deidentification]") {
  Vocabulary vocabulary;
  IdentifyingWords none;
  const std::pair<const char*, const char*> kTexts[] = {
      {"CT 12 03 70 THORAX", "CT THORAX"},
      {"MR_12_03_70", "MR"},
      {"CT 079 555 12 34", "CT"},
      {"CT 12.03. 70", "CT"},
      {"CT 3 MAR 70", "CT"},
      {"CT MAR 70", "CT"},
      {"CT 70 (Mai) CHEST", "CT CHEST"},
      {"CT 123 456", "CT"},
      {"CT 123 Zq 45", "CT"},
      {"CT 10 : 30", "CT"},
      {"patient 97 years old phone 079 555 12 34 male", "patient old male"},
      {"CT age: 97", "CT"},
      {"CT 97Y CHEST", "CT CHEST"},
      {"097Y CT", "CT"},
      // What stays.
      {"T1 AXIAL 5.0mm", "T1 AXIAL 5.0mm"},
      {"CHEST 5mm 120kV", "CHEST 5mm 120kV"},
      {"MARGIN 5mm", "MARGIN 5mm"},
      {"AX 2.5 LUNG 1.25", "AX 2.5 LUNG 1.25"}};
  for (const auto& [text, cleaned] : kTexts) {
    INFO(text);
    CHECK(vocabulary.Clean(text, none) == cleaned);
  }
  IdentifyingWords patient;
  AddIdentifyingWords("12345", patient);
  CHECK(vocabulary.Clean("CT 12 345", patient) == "CT");
  CHECK(vocabulary.Clean("CT 12 346", patient) == "CT 12 346");
  CHECK(HasTellingNumbers("Sw 1.0 Dr 079 555 12 34"));
  CHECK(HasTellingNumbers("Version 12.03.1950"));
  CHECK(HasTellingNumbers("0795551234"));
  CHECK(HasTellingNumbers("K0795551234"));
  CHECK(HasTellingNumbers("Rev 19500312"));
  CHECK_FALSE(HasTellingNumbers("Rev 19501312"));
  CHECK_FALSE(HasTellingNumbers("1.2.20110321.4"));
  CHECK_FALSE(HasTellingNumbers("20795551"));
  CHECK_FALSE(HasTellingNumbers("syngo 07.01.0042.13"));
  CHECK_FALSE(HasTellingNumbers("LightSpeed VCT 64 v1.0.5.3"));
}

TEST_CASE("values: identifiers of SNOMED CT are told by their check digit", "[deidentification]") {
  // Lung, breast, body structure, neoplasm, and the examples of SNOMED's description of the check
  // digit.
  for (const char* id : {"39607008", "76752008", "123037004", "108369006", "100005", "100014",
                         "1290989121103", "9940000001029"}) {
    INFO(id);
    CHECK(IsSnomedId(id));
  }
  for (const char* id : {"39607009", "0795551234", "19500312", "123037005", "12303700", "",
                         "12345678901234567890", "1230370x4"}) {
    INFO(id);
    CHECK_FALSE(IsSnomedId(id));
  }
}

}  // namespace
}  // namespace oncomesh::deidentification
