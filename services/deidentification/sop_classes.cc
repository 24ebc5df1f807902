// SPDX-License-Identifier: Apache-2.0
#include "services/deidentification/sop_classes.h"

#include <algorithm>
#include <iterator>

#include "absl/strings/match.h"
#include "absl/strings/strip.h"
#include "libs/dicom/uids.h"

namespace oncomesh::deidentification {
namespace {

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

}  // namespace

SopClassReview ReviewOf(absl::string_view uid) {
  if (dicom::StandardUidKind(uid) != dicom::UidKind::kClass ||
      !absl::ConsumePrefix(&uid, "1.2.840.10008.5.1.4.1.1.")) {
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
