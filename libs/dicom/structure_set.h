// SPDX-License-Identifier: Apache-2.0
// Contours of an RT Structure Set (PS3.3 A.19).
#pragma once

#include <array>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "libs/base/stop.h"

namespace oncomesh::dicom {

struct Contour {
  enum class Type { kClosedPlanar, kClosedPlanarXor, kOther };
  Type type = Type::kOther;
  std::vector<std::array<double, 3>> points;  // LPS, mm
};

struct RegionOfInterest {
  int number = 0;
  std::string name;                    // as written, without padding
  std::string frame_of_reference_uid;  // empty when absent
  std::vector<Contour> contours;
};

struct StructureSet {
  std::vector<std::string> referenced_series;  // UIDs of the image series it was drawn on
  std::vector<RegionOfInterest> regions;       // in the order of the file
};

// `go_on` is asked for each contour. At most 4 million points, 65,536 regions and 10,000 referenced
// series. Any thread.
// Errors: INVALID_ARGUMENT (DICOM_UNREADABLE, STRUCTURE_SET_INVALID), the latter also for another
// kind of object; ABORTED (STOPPED).
absl::StatusOr<StructureSet> ReadStructureSet(absl::string_view bytes,
                                              const base::GoOn& go_on = nullptr);

}  // namespace oncomesh::dicom
