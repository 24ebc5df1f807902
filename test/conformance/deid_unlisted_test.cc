// SPDX-License-Identifier: Apache-2.0
// A token planted in every text attribute of DCMTK's dictionary, at top level and inside a sequence
// item, in an object that DCMTK writes: what survives is told by name, so that an attribute nobody
// has thought of is found.
#include <dcmtk/config/osconfig.h>
#include <dcmtk/dcmdata/dctk.h>

#include <catch2/catch.hpp>
#include <set>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "libs/base/files.h"
#include "libs/testing/status_matchers.h"
#include "libs/testing/temporary_folder.h"
#include "services/deidentification/file_deidentifier.h"
#include "services/deidentification/profile.h"
#include "services/deidentification/release_check.h"
#include "services/deidentification/reviewed_attributes_fixture.h"

namespace oncomesh::deidentification {
namespace {

struct Attribute {
  DcmTagKey key;
  DcmEVR vr;
  std::string name;
  std::string token;
};

// Names of things, in the profile's vocabulary of nobody; at most 16 characters, for SH.
std::vector<Attribute> TextAttributes() {
  std::vector<Attribute> out;
  DcmDataDictionary& dictionary = dcmDataDict.wrlock();
  for (auto entry = dictionary.normalBegin(); entry != dictionary.normalEnd(); ++entry) {
    const DcmDictEntry& e = **entry;
    if ((e.getGroup() & 1) != 0 || e.getGroup() < 0x0008 || e.isRepeating()) continue;
    switch (e.getEVR()) {
      case EVR_CS:
      case EVR_LO:
      case EVR_SH:
      case EVR_ST:
      case EVR_LT:
      case EVR_UT:
      case EVR_UC:
      case EVR_PN:
      case EVR_OB:
      case EVR_UR:
        break;
      default:
        continue;
    }
    std::string token = absl::StrFormat("Zq%04x%04xZ", e.getGroup(), e.getElement());
    out.push_back({DcmTagKey(e.getGroup(), e.getElement()), e.getEVR(), e.getTagName(), token});
  }
  dcmDataDict.wrunlock();
  return out;
}

void Plant(DcmItem& item, const Attribute& attribute) {
  DcmTag tag(attribute.key, DcmVR(attribute.vr));
  if (attribute.vr == EVR_OB) {
    REQUIRE(item.putAndInsertUint8Array(tag, reinterpret_cast<const Uint8*>(attribute.token.data()),
                                        attribute.token.size() & ~1ul)
                .good());
  } else {
    REQUIRE(item.putAndInsertOFStringArray(tag, attribute.token.c_str()).good());
  }
}

TEST_CASE("deid: of a token in every text attribute of the dictionary only reviewed ones survive",
          "[conformance]") {
  testing::TemporaryFolder folder;
  const std::vector<Attribute> attributes = TextAttributes();
  REQUIRE(attributes.size() > 1400);
  DcmFileFormat file;
  DcmDataset& data = *file.getDataset();
  for (const Attribute& attribute : attributes) Plant(data, attribute);
  DcmItem* item = nullptr;
  REQUIRE(data.findOrCreateSequenceItem(DCM_AnatomicRegionSequence, item, -2).good());
  for (const Attribute& attribute : attributes) Plant(*item, attribute);
  data.putAndInsertString(DCM_SOPClassUID, UID_CTImageStorage);
  data.putAndInsertString(DCM_SOPInstanceUID, "1.2.276.0.99.7230010.1");
  data.putAndInsertString(DCM_StudyInstanceUID, "1.2.276.0.99.7230010.2");
  data.putAndInsertString(DCM_SeriesInstanceUID, "1.2.276.0.99.7230010.3");
  data.putAndInsertString(DCM_Modality, "CT");
  data.putAndInsertString(DCM_SpecificCharacterSet, "ISO_IR 100");
  const std::string source = folder / "a.dcm";
  REQUIRE(file.saveFile(source.c_str(), EXS_LittleEndianExplicit).good());

  for (const char* name : {"basic", "research", "anonymous"}) {
    REQUIRE_VALUE(Profile profile, LoadProfile(name));
    Deidentifier deidentifier(profile, std::string(kProjectKeyBytes, 'k'));
    FileDeidentifier worker(deidentifier, folder / name, {});
    REQUIRE_VALUE(FileOutcome outcome, worker.Run(source));
    REQUIRE(outcome.outcome.reason == "");
    const std::string output = folder / name + "/" + outcome.path;
    REQUIRE_VALUE(std::string bytes, base::ReadFile(output));
    std::set<std::string> survivors;
    for (const Attribute& attribute : attributes) {
      if (absl::StrContains(bytes, attribute.token.substr(0, 10))) survivors.insert(attribute.name);
    }
    // Written by equipment about equipment, or codes: services/deidentification/README.md.
    const std::set<std::string>& kReviewed = ReviewedAttributes();
    std::string unexpected;
    for (const std::string& survivor : survivors) {
      if (kReviewed.count(survivor) == 0) absl::StrAppend(&unexpected, survivor, "; ");
    }
    INFO(name);
    CHECK(unexpected == "");

    // DCMTK's reader finds what the imaging side needs.
    DcmFileFormat clean;
    REQUIRE(clean.loadFile(output.c_str()).good());
    OFString text;
    for (const DcmTagKey& key : {DCM_Manufacturer, DCM_ManufacturerModelName, DCM_ConvolutionKernel,
                                 DCM_SequenceName, DCM_Radiopharmaceutical, DCM_RescaleType}) {
      text = "";
      clean.getDataset()->findAndGetOFString(key, text);
      CHECK(text.size() == 11);
    }
    CHECK(clean.getDataset()->findAndGetSequenceItem(DCM_AnatomicRegionSequence, item).good());
    CHECK(item->findAndGetOFString(DCM_CodeValue, text).good());
    CHECK(text.size() == 11);
    CHECK(item->findAndGetOFString(DCM_CodeMeaning, text).good());
    CHECK(text == "REMOVED");

    if (!profile.throw_away_key) {
      REQUIRE_VALUE(SourceIdentifiers identifiers, SourceIdentifiers::Read(source, deidentifier));
      REQUIRE_VALUE(std::vector<std::string> none, SearchFile(output, identifiers));
      CHECK(none.empty());
      // The search knows what the profile removed outside the standard's table, too.
      REQUIRE_OK(base::WriteFileAtomically(folder / "dirty", bytes + " Zq00401006Z and more"));
      REQUIRE_VALUE(std::vector<std::string> found, SearchFile(folder / "dirty", identifiers));
      CHECK(found == std::vector<std::string>{"identifier"});
    }
  }
}

// A text that is of no number's, time's, date's or UID's form, written under the VR of each such
// attribute of the dictionary: DCMTK writes what it is given.
std::string AsBytes(DcmEVR vr, std::string token) {
  token.resize(24, 'z');
  // Of the size of the VR's numbers, so that only the form can tell.
  return vr == EVR_US || vr == EVR_SS ? token.substr(0, 18) : token;
}

TEST_CASE("deid: a text under the VR of a number, a time, a date or a UID does not survive",
          "[conformance]") {
  testing::TemporaryFolder folder;
  DcmFileFormat file;
  DcmDataset& data = *file.getDataset();
  std::vector<std::pair<std::string, std::string>> planted;
  DcmItem* item = nullptr;
  REQUIRE(data.findOrCreateSequenceItem(DCM_AnatomicRegionSequence, item, -2).good());
  DcmDataDictionary& dictionary = dcmDataDict.wrlock();
  std::vector<DcmDictEntry> entries;
  for (auto entry = dictionary.normalBegin(); entry != dictionary.normalEnd(); ++entry) {
    const DcmDictEntry& e = **entry;
    if ((e.getGroup() & 1) != 0 || e.getGroup() < 0x0008 || e.isRepeating()) continue;
    if (e.getGroup() == 0x7fe0 || e.getElement() == 0) continue;
    entries.push_back(e);
  }
  dcmDataDict.wrunlock();
  for (const DcmDictEntry& e : entries) {
    const std::string token = absl::StrFormat("Zq%04x%04xZ", e.getGroup(), e.getElement());
    const DcmTagKey key(e.getGroup(), e.getElement());
    for (DcmItem* place : {static_cast<DcmItem*>(&data), item}) {
      switch (e.getEVR()) {
        case EVR_UI:
        case EVR_TM:
        case EVR_DA:
        case EVR_DT:
        case EVR_IS:
        case EVR_DS:
        case EVR_AS:
          REQUIRE(place->putAndInsertString(DcmTag(key, DcmVR(e.getEVR())), token.c_str()).good());
          break;
        case EVR_US:
        case EVR_SS:
        case EVR_UL:
        case EVR_SL:
        case EVR_FL:
        case EVR_FD:
        case EVR_AT:
        case EVR_xs:
        case EVR_OW: {
          // Under OW, whose bytes DCMTK writes as they are, and as UN, as a relay does that does
          // not know the attribute.
          const std::string bytes = AsBytes(e.getEVR(), token);
          auto* made =
              new DcmOtherByteOtherWord(DcmTag(key, DcmVR(place == item ? EVR_OB : EVR_UN)));
          REQUIRE(made->putUint8Array(reinterpret_cast<const Uint8*>(bytes.data()),
                                      static_cast<unsigned long>(bytes.size()))
                      .good());
          REQUIRE(place->insert(made, OFTrue).good());
          break;
        }
        default:
          continue;
      }
      planted.emplace_back(e.getTagName(), token.substr(0, 10));
    }
  }
  REQUIRE(planted.size() > 3000);
  data.putAndInsertString(DCM_SOPClassUID, UID_CTImageStorage);
  data.putAndInsertString(DCM_SOPInstanceUID, "1.2.276.0.99.7230010.1");
  data.putAndInsertString(DCM_StudyInstanceUID, "1.2.276.0.99.7230010.2");
  data.putAndInsertString(DCM_SeriesInstanceUID, "1.2.276.0.99.7230010.3");
  data.putAndInsertString(DCM_PatientID, "ZQID77123");
  data.putAndInsertString(DCM_Modality, "CT");
  const std::string source = folder / "a.dcm";
  REQUIRE(file.saveFile(source.c_str(), EXS_LittleEndianExplicit).good());
  REQUIRE_VALUE(std::string before, base::ReadFile(source));
  for (const char* name : {"basic", "research", "anonymous"}) {
    REQUIRE_VALUE(Profile profile, LoadProfile(name));
    Deidentifier deidentifier(profile, std::string(kProjectKeyBytes, 'k'));
    FileDeidentifier worker(deidentifier, folder / name, {});
    REQUIRE_VALUE(FileOutcome outcome, worker.Run(source));
    REQUIRE(outcome.outcome.reason == "");
    REQUIRE_VALUE(std::string bytes, base::ReadFile(folder / name + "/" + outcome.path));
    std::set<std::string> survivors, missing;
    for (const auto& [attribute, token] : planted) {
      if (absl::StrContains(bytes, token)) survivors.insert(attribute);
      if (!absl::StrContains(before, token)) missing.insert(attribute);
    }
    INFO(name);
    // Four attributes of the object's own identity were written over.
    CHECK(missing.size() <= 5);
    CHECK(absl::StrJoin(survivors, "; ") == "");
  }
}

}  // namespace
}  // namespace oncomesh::deidentification
