// SPDX-License-Identifier: Apache-2.0
#include "services/deidentification/unlisted_attributes.h"

#include <catch2/catch.hpp>
#include <map>
#include <set>

#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "libs/base/files.h"
#include "libs/testing/status_matchers.h"
#include "libs/testing/test_data.h"
#include "services/deidentification/profile.h"
#include "services/deidentification/reviewed_attributes_fixture.h"

namespace oncomesh::deidentification {
namespace {

struct Attribute {
  dicom::Tag tag;
  std::string vr, keyword;
};

// DCMTK's dictionary without what PS3.15 Table E.1-1 lists.
std::vector<Attribute> Unlisted() {
  absl::StatusOr<std::string> rules =
      base::ReadFile(testing::SourcePath("tools/codegen/data/ps315_e1_1_2025b.csv"));
  absl::StatusOr<std::string> dictionary =
      base::ReadFile(testing::SourcePath("tools/codegen/data/dictionary_dcmtk_3.6.7.csv"));
  REQUIRE_OK(rules);
  REQUIRE_OK(dictionary);
  std::set<std::string> listed;
  for (absl::string_view line : absl::StrSplit(*rules, '\n')) {
    listed.insert(absl::AsciiStrToLower(line.substr(0, 9)));
  }
  std::vector<Attribute> out;
  for (absl::string_view line : absl::StrSplit(*dictionary, '\n')) {
    // "gggg,eeee",VR,VM,Keyword; ranges of groups are longer.
    std::vector<std::string> cells =
        absl::StrSplit(line, absl::ByAnyChar(",\""), absl::SkipEmpty());
    if (cells.size() != 5 || cells[0].size() != 4 || cells[1].size() != 4) continue;
    uint32_t tag = 0;
    if (!absl::SimpleHexAtoi(cells[0] + cells[1], &tag) || dicom::IsPrivate(tag)) continue;
    if (listed.count(cells[0] + "," + cells[1]) > 0) continue;
    out.push_back({tag, cells[2], cells[4]});
  }
  return out;
}

TEST_CASE("unlisted: of every attribute of the dictionary no text stays that was not reviewed",
          "[deidentification]") {
  const std::set<std::string> kText = {"LO", "SH", "ST", "LT", "UT", "UC",
                                       "UR", "AE", "OB", "UN", "PN"};
  for (const Profile& profile : BuiltInProfiles()) {
    Decisions decisions(profile);
    std::set<std::string> kept;
    int texts = 0;
    for (const Attribute& attribute : Unlisted()) {
      if (kText.count(attribute.vr) == 0) continue;
      ++texts;
      Treatment treatment = decisions.For(attribute.tag).treatment;
      INFO(profile.name << " " << attribute.keyword);
      if (treatment == Treatment::kKeep) kept.insert(attribute.keyword);
      if (treatment == Treatment::kClean) {
        CHECK(profile.clean_descriptors);
        CHECK((attribute.vr == "LO" || attribute.vr == "SH" || attribute.keyword == "TextValue"));
      }
    }
    CHECK(texts > 450);
    CHECK(kept == ReviewedAttributes());
  }
}

TEST_CASE("unlisted: identifiers, addresses and encrypted content go in every profile",
          "[deidentification]") {
  for (const Profile& profile : BuiltInProfiles()) {
    Decisions decisions(profile);
    for (dicom::Tag tag :
         {0x00100033u, 0x00100034u, 0x00401006u, 0x00401007u, 0x00402006u, 0x00402007u,
          0x00181003u, 0x00181803u, 0x00400400u, 0x30080202u, 0x01000424u, 0x30020020u,
          0x0040a992u, 0x00080116u, 0x04000500u, 0x04000120u, 0x04000520u, 0x0072005fu,
          0x00720061u, 0x00720066u, 0x00620020u}) {
      INFO(profile.name << absl::StrCat(" ", absl::Hex(tag, absl::kZeroPad8)));
      CHECK(decisions.For(tag).treatment == Treatment::kRemove);
    }
  }
  // What an object must have gets a dummy where nothing of it stays.
  Decisions basic(*LoadProfile("basic")), research(*LoadProfile("research"));
  CHECK(basic.For(0x00080104).treatment == Treatment::kDummy);
  CHECK(research.For(0x00080104).treatment == Treatment::kClean);
  CHECK(research.For(0x00620005).fallback == Treatment::kDummy);
}

}  // namespace
}  // namespace oncomesh::deidentification
