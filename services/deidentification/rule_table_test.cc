// SPDX-License-Identifier: Apache-2.0
#include "services/deidentification/rule_table.h"

#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>
#include <set>
#include <sstream>
#include <tuple>

#include "absl/strings/ascii.h"
#include "absl/strings/str_format.h"
#include "libs/base/files.h"
#include "libs/crypto/digest.h"
#include "libs/testing/status_matchers.h"
#include "libs/testing/test_data.h"
#include "services/deidentification/profile.h"

namespace oncomesh::deidentification {
namespace {

// What the research profile keeps as it is of the attributes in the table, besides times of day:
// the versions of context groups, and characteristics of the patient.
const std::set<dicom::Tag>& ResearchKeeps() {
  static const auto* const kTags =
      new std::set<dicom::Tag>{0x00080106, 0x00080107, 0x00100040, 0x00101020,
                               0x00101030, 0x001021a0, 0x001021c0, 0x00102203};
  return *kTags;
}

TEST_CASE("rules: every row of the vendored table has an action", "[deidentification]") {
  REQUIRE_VALUE(std::string csv,
                base::ReadFile(testing::SourcePath("tools/codegen/data/ps315_e1_1_2025b.csv")));
  CHECK(crypto::Sha256Hex(csv) == RuleTableSha256());
  std::set<std::string> tags;
  std::istringstream lines(csv);
  std::string line;
  std::getline(lines, line);
  while (std::getline(lines, line)) tags.insert(absl::AsciiStrToLower(line.substr(0, 9)));
  CHECK(tags.size() == 655);
  CHECK(RuleRows().size() == tags.size());
  for (const RuleRow& row : RuleRows()) {
    CHECK(row.actions[kBasicProfile] != RowAction::kNone);
    if (row.mask != 0xffffffff) continue;
    INFO(absl::StrFormat("%08x", row.tag));
    CHECK(tags.count(absl::StrFormat("%04x,%04x", row.tag >> 16, row.tag & 0xffff)) == 1);
    // No row of the table is kept by the basic profile.
    CHECK(row.actions[kBasicProfile] != RowAction::kKeep);
  }
}

TEST_CASE("rules: attributes that identify have a decision in every profile",
          "[deidentification]") {
  for (const Profile& profile : BuiltInProfiles()) {
    Decisions decisions(profile);
    for (const RuleRow& row : RuleRows()) {
      if (row.mask != 0xffffffff) continue;
      INFO(profile.name << absl::StrFormat(" %08x", row.tag));
      // Patient's Birth Time, and a copy of any time.
      const bool time_removed = row.tag == 0x00100032 || row.tag == 0x0072006b;
      const bool kept = profile.name == "research" && !time_removed &&
                        (row.vr == dicom::kTM || ResearchKeeps().count(row.tag) > 0);
      CHECK((decisions.For(row.tag).treatment == Treatment::kKeep) == kept);
    }
    for (const dicom::DictionaryEntry& entry : dicom::AllEntries()) {
      INFO(profile.name << absl::StrFormat(" %08x", entry.tag));
      Treatment treatment = decisions.For(entry.tag).treatment;
      if (entry.vr == dicom::kPN) CHECK(treatment != Treatment::kKeep);
      if (entry.vr == dicom::kUI && !entry.names_class) CHECK(treatment != Treatment::kKeep);
      // The version of a vocabulary is a date of a publisher's, not of a patient's.
      bool vocabulary = entry.tag == 0x00080106 || entry.tag == 0x00080107;
      if ((entry.vr == dicom::kDA || entry.vr == dicom::kDT) && !vocabulary) {
        CHECK(treatment != Treatment::kKeep);
      }
    }
  }
}

TEST_CASE("rules: dates of a device are not shifted with the patient's", "[deidentification]") {
  REQUIRE_VALUE(Profile research, LoadProfile("research"));
  Decisions decisions(research);
  CHECK(decisions.For(0x00080020).treatment == Treatment::kShiftDate);  // study date
  CHECK(decisions.For(0x00181200).treatment != Treatment::kShiftDate);  // last calibration
  CHECK(decisions.For(0x00181204).treatment != Treatment::kShiftDate);  // manufacture
  // Published dates, and those on a certificate or a label.
  for (dicom::Tag tag : {0x0040db06u, 0x0040db07u, 0x0044000bu, 0x300a022cu, 0x00686226u,
                         0x00686270u, 0x00120086u, 0x00120087u}) {
    INFO(absl::StrFormat("%08x", tag));
    CHECK(decisions.For(tag).treatment != Treatment::kShiftDate);
    CHECK(decisions.For(tag).treatment != Treatment::kKeep);
  }
  CHECK(decisions.For(0x00080001).treatment == Treatment::kRemove);  // length to end
  // What no table knows is removed.
  CHECK(decisions.For(0x00080fff).treatment == Treatment::kRemove);
  CHECK(decisions.For(0x60003000).treatment == Treatment::kRemove);
}

TEST_CASE("rules: of private dates only those of the patient's visit are shifted",
          "[deidentification]") {
  REQUIRE_VALUE(Profile research, LoadProfile("research"));
  Decisions decisions(research);
  using Name = std::tuple<std::string, int, int>;
  std::set<Name> shifted;
  for (const PrivateRow& row : PrivateRows()) {
    dicom::Vr vr = 0;
    const dicom::Tag tag = dicom::Tag{row.group} << 16 | 0x1000 | row.low;
    const Treatment treatment = decisions.ForPrivate(row.creator, tag, vr).treatment;
    INFO(row.creator << absl::StrFormat(" %04x,xx%02x", row.group, row.low));
    if (row.vr == dicom::kDA || row.vr == dicom::kDT) CHECK(treatment != Treatment::kKeep);
    if (treatment == Treatment::kShiftDate) {
      shifted.emplace(std::string(row.creator), row.group, row.low);
    }
  }
  // Each looked at by its name in the vendored table: what happened to this patient, or to the
  // objects of this study. A row that an edition adds is to be looked at, and added here or to the
  // public ones.
  const std::set<Name> of_the_patient{
      {"GEIIS_RA1000", 0x0029, 0x36},                         // of a referenced image
      {"GEMS_PETD_01", 0x0009, 0x05},                         // Patient DateTime
      {"GEMS_PETD_01", 0x0009, 0x0d},                         // Scan Date Time
      {"GEMS_PETD_01", 0x0009, 0x0e},                         // Scan Ready
      {"GEMS_PETD_01", 0x0009, 0x39},                         // Measured Date Time
      {"GEMS_PETD_01", 0x0009, 0x3b},                         // Administered Date Time
      {"GEMS_PETD_01", 0x0009, 0x3d},                         // Post Injected Date Time
      {"GEMS_PETD_01", 0x0009, 0x68},                         // landmark_datetime
      {"GEMS_PETD_01", 0x0009, 0x6c},                         // acq_start
      {"GEMS_PETD_01", 0x0009, 0x7b},                         // Image Set Date Time
      {"SIEMENS CM VA0  CMS", 0x0013, 0x10},                  // Modification Date, of the object
      {"SIEMENS MED PT", 0x0071, 0x22},                       // Decay Correction DateTime
      {"TOSHIBA_MEC_CT3", 0x7005, 0x24},                      // AcquisitionDateOfNRA
      {"UCSF BIRP PRIVATE CREATOR 011710xx", 0x0117, 0xd1}};  // MaskSourceSaveDate
  for (const Name& name : shifted) {
    INFO(
        std::get<0>(name) << absl::StrFormat(" %04x,xx%02x", std::get<1>(name), std::get<2>(name)));
    CHECK(of_the_patient.count(name) == 1);
  }
  CHECK(shifted.size() == of_the_patient.size());
}

TEST_CASE("profile: a file may refine a built-in one, and nothing is guessed",
          "[deidentification]") {
  REQUIRE_VALUE(Profile mine, ParseProfile(R"({"name": "mine", "base": "research",
      "options": {"retainSafePrivate": false}, "words": ["Kinesis"], "keep": ["0018,1000"],
      "sopClasses": ["1.2.3.4"]})"));
  CHECK(mine.shift_dates);
  CHECK_FALSE(mine.retain_safe_private);
  CHECK(Decisions(mine).ListsSopClass("1.2.3.4"));
  CHECK(Decisions(mine).For(0x00181000).treatment == Treatment::kKeep);
  REQUIRE_VALUE(Profile again, ParseProfile([&] {
                  nlohmann::json json = ProfileJson(mine);
                  return json.dump();
                }()));
  CHECK(ProfileJson(again) == ProfileJson(mine));
  for (const char* bad :
       {"", "[]", "{}", R"({"name": "basic"})", R"({"name": "x", "base": "none"})",
        R"({"name": "x", "options": {"retainEverything": true}})",
        R"({"name": "x", "options": {"shiftDates": 1}})", R"({"name": "x", "keep": ["00181000x"]})",
        R"({"name": "x", "keep": ["0019,1000"]})", R"({"name": "x", "colour": 1})",
        // One kept date tells the offset of all the shifted ones; a kept UID is another than the
        // path's; an age is to be capped.
        R"({"name": "x", "keep": ["0008,0020"]})", R"({"name": "x", "keep": ["0008,002a"]})",
        R"({"name": "x", "keep": ["0020,000d"]})", R"({"name": "x", "keep": ["0010,0010"]})",
        R"({"name": "x", "keep": ["0010,0020"]})", R"({"name": "x", "keep": ["0010,1010"]})",
        R"({"name": "x", "sopClasses": ["CT"]})", R"({"name": "x", "sopClasses": "1.2.3"})"}) {
    INFO(bad);
    REQUIRE_REASON(ParseProfile(bad), absl::StatusCode::kInvalidArgument, "PROFILE_INVALID");
  }
  REQUIRE_REASON(LoadProfile("no-such"), absl::StatusCode::kNotFound, "PROFILE_NOT_FOUND");
}

}  // namespace
}  // namespace oncomesh::deidentification
