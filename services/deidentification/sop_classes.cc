// SPDX-License-Identifier: Apache-2.0
#include "services/deidentification/sop_classes.h"

#include <algorithm>
#include <iterator>
#include <string>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "libs/dicom/uids.h"

namespace oncomesh::deidentification {
namespace {

constexpr absl::string_view kStorageRoot = "1.2.840.10008.5.1.4.1.1.";

// Behind the root of the storage classes, as all below.
constexpr absl::string_view kReviewed[] = {
    "2",      // CT
    "2.1",    // enhanced CT
    "2.2",    // legacy converted CT
    "4",      // MR
    "4.1",    // enhanced MR
    "4.2",    // MR spectroscopy
    "4.4",    // legacy converted MR
    "11.1",   // presentation states: grayscale,
    "11.2",   // color,
    "11.3",   // pseudo-color,
    "11.4",   // blending
    "30",     // parametric map
    "66.1",   // spatial registration
    "66.2",   // spatial fiducials
    "66.3",   // deformable registration
    "66.4",   // segmentation
    "66.5",   // surface segmentation
    "66.6",   // tractography
    "66.7",   // label map
    "67",     // real world value mapping
    "88.11",  // structured reports: basic text,
    "88.22",  // enhanced,
    "88.33",  // comprehensive,
    "88.34",  // in three dimensions,
    "88.35",  // extensible,
    "88.50",  // of CAD of the breast
    "88.59",  // key objects
    "88.65",  // of CAD of the chest
    "88.67",  // of X-ray dose
    "88.68",  // of radiopharmaceutical dose
    "88.69",  // of CAD of the colon
    "128",    // PET
    "128.1",  // legacy converted PET
    "130",    // enhanced PET
    "481.2",  // radiotherapy: dose,
    "481.3",  // structure set,
    "481.4",  // beams record,
    "481.5",  // plan,
    "481.6",  // brachytherapy record,
    "481.7",  // summary record,
    "481.8",  // ion plan,
    "481.9",  // ion beams record
};

// A class, or with a dot at its end all classes below.
constexpr absl::string_view kMayShowText[] = {
    "1",       // computed radiography
    "1.",      // digital radiography, mammography, intra-oral
    "3",       // ultrasound multi-frame, retired
    "3.",      // ultrasound multi-frame
    "4.3",     // enhanced MR in colour
    "5",       // nuclear medicine, retired
    "6",       // ultrasound, retired
    "6.",      // ultrasound
    "7",       // secondary capture
    "7.",      // secondary capture multi-frame
    "12.",     // X-ray angiography and fluoroscopy
    "13.",     // X-ray in three dimensions, tomosynthesis
    "14.",     // intravascular optical coherence tomography
    "20",      // nuclear medicine
    "77.",     // endoscopy, microscopy, photographs, the eye
    "481.1",   // radiotherapy image
    "481.23",  // enhanced radiotherapy image
    "481.24",  // continuous radiotherapy image
};

// Images whose makers store their pages under the same class.
constexpr absl::string_view kCrossSections[] = {"2",   "2.1", "2.2",   "4",  "4.1",
                                                "4.4", "128", "128.1", "130"};

// Words of an image type that a page has and an image has not; "CTP" is RSNA's pixel anonymiser
// script, "deid" the recipe of the pydicom project.
constexpr absl::string_view kPageWords[] = {
    "PROT",             // Siemens CT: ORIGINAL, SECONDARY, OTHER, CT_SOM5 PROT, patient protocol
    "PROTOCOL",         // the same of others
    "DOSE",             // Philips CT dose page (CTP)
    "REPORT",           // reports of workstations
    "REPORTDATA",       // deid
    "DEMOGRAPHICDATA",  // deid
    "SAVE",             // GE: SCREEN SAVE (deid)
    "SCREENSAVE",       // the same in one word
    "VOLREN",           // GE volume rendering, with a corner of text (CTP)
};

// Of the series description of a page, in lower case, whatever its image type (both of deid; the
// second of CTP for GE, too).
constexpr absl::string_view kPageSeries[] = {"patient protocol", "dose report"};

// "dose", but not of an examination with little of it.
bool TellsDose(absl::string_view lower) {
  for (size_t at = lower.find("dose"); at != absl::string_view::npos;
       at = lower.find("dose", at + 1)) {
    absl::string_view before = lower.substr(0, at);
    while (!before.empty() && !absl::ascii_isalnum(static_cast<unsigned char>(before.back()))) {
      before.remove_suffix(1);
    }
    if (!absl::EndsWith(before, "low")) return true;
  }
  return false;
}

}  // namespace

bool IsScreenPage(absl::string_view sop_class_uid, absl::string_view image_type,
                  absl::string_view series_description, absl::string_view dose_comments) {
  if (!absl::ConsumePrefix(&sop_class_uid, kStorageRoot) ||
      std::find(std::begin(kCrossSections), std::end(kCrossSections), sop_class_uid) ==
          std::end(kCrossSections)) {
    return false;
  }
  // GE's dose page says its dose length product there (CTP).
  if (absl::StrContains(absl::AsciiStrToUpper(dose_comments), "DLP")) return true;
  const std::string kinds = absl::AsciiStrToUpper(image_type);
  for (absl::string_view word :
       absl::StrSplit(kinds, absl::ByAnyChar("\\ _-/"), absl::SkipEmpty())) {
    if (std::find(std::begin(kPageWords), std::end(kPageWords), word) != std::end(kPageWords)) {
      return true;
    }
  }
  const std::string series = absl::AsciiStrToLower(series_description);
  for (absl::string_view page : kPageSeries) {
    if (absl::StrContains(series, page)) return true;
  }
  std::vector<absl::string_view> values = absl::StrSplit(kinds, '\\');
  const bool secondary = values.size() > 1 && absl::StripAsciiWhitespace(values[1]) == "SECONDARY";
  return secondary && (absl::StrContains(series, "protocol") || TellsDose(series));
}

SopClassReview ReviewOf(absl::string_view uid) {
  if (dicom::StandardUidKind(uid) != dicom::UidKind::kClass ||
      !absl::ConsumePrefix(&uid, kStorageRoot)) {
    return SopClassReview::kNotReviewed;
  }
  if (std::find(std::begin(kReviewed), std::end(kReviewed), uid) != std::end(kReviewed)) {
    return SopClassReview::kReviewed;
  }
  for (absl::string_view entry : kMayShowText) {
    if (uid == entry || (entry.back() == '.' && absl::StartsWith(uid, entry))) {
      return SopClassReview::kMayShowText;
    }
  }
  return SopClassReview::kNotReviewed;
}

}  // namespace oncomesh::deidentification
