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

}  // namespace oncomesh::deidentification
