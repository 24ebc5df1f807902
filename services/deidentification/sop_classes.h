// SPDX-License-Identifier: Apache-2.0
// Which SOP classes were reviewed: what their objects hold, elements and pixels.
#pragma once

#include "absl/strings/string_view.h"

namespace oncomesh::deidentification {

enum class SopClassReview {
  // Cross-sectional images, radiotherapy, segmentations and their kin: the rules reach everything
  // that identifies, and the pixels show no text unless the object says so.
  kReviewed,
  // Images that may show text: the patient stands in a corner of many projections, ultrasound
  // images, photographs and pictures of screens.
  kMayShowText,
  // Of another maker or a later edition, or with content that no rule reaches.
  kNotReviewed,
};

SopClassReview ReviewOf(absl::string_view sop_class_uid);

// Whether an image of CT, MR or PET is a page that the scanner or a workstation made of text, with
// the patient's name on it: an examination protocol, a dose report, a picture of a screen. They are
// stored under the class of the images beside them. All views as written.
bool IsScreenPage(absl::string_view sop_class_uid, absl::string_view image_type,
                  absl::string_view series_description, absl::string_view dose_comments);

}  // namespace oncomesh::deidentification
