// SPDX-License-Identifier: Apache-2.0
// Frames of a Segmentation object (PS3.3 A.51).
#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "libs/dicom/series_image.h"

namespace oncomesh::dicom {

struct Segment {
  int number = 0;
  std::string label;
  // The planes on which it is drawn; values are 0 to 1 (for BINARY 0 or 1).
  std::vector<Slice> slices;
};

struct Segmentation {
  std::string frame_of_reference_uid;
  std::vector<std::string> referenced_series;
  int rows = 0;
  int columns = 0;
  std::vector<Segment> segments;
};

// `go_on` is asked for each frame. At most 65,535 segments and 10,000 referenced series. Any
// thread. Errors: as ReadImage, and INVALID_ARGUMENT (SEGMENTATION_INVALID), also for another kind
// of object.
absl::StatusOr<Segmentation> ReadSegmentation(absl::string_view bytes,
                                              const base::GoOn& go_on = nullptr);

}  // namespace oncomesh::dicom
