// SPDX-License-Identifier: Apache-2.0
// From files to the series and regions in them.
#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "libs/imaging/contour_mask.h"
#include "libs/imaging/series_assembly.h"
#include "libs/imaging/sidecar.h"
#include "libs/imaging/stop.h"

namespace oncomesh::imaging {

// True for bytes that claim to be a DICOM file.
bool HasDicomMagic(absl::string_view bytes);

struct LoadedSeries {
  ImageSeries series;
  std::vector<std::string> sha256;  // of the objects that are in it
  size_t other_files = 0;           // that are no images: reports, structure sets, not DICOM at all
  size_t copies = 0;                // byte for byte the same as another one
};

// Makes the volume of the one image series in these files. Files that are not DICOM, and objects
// without an image, are passed over; a damaged DICOM file is an error, for a slice would be
// missing. `go_on` is asked for each frame.
// Errors: as dicom::ReadImage, AssembleSeries and base::ReadFile; ABORTED (STOPPED).
absl::StatusOr<LoadedSeries> LoadSeries(const std::vector<std::string>& paths,
                                        const GoOn& go_on = nullptr);

struct LoadedMask {
  MaskResult result;
  std::string sha256;  // of the object with the region
  std::string kind;    // "RTSTRUCT" or "SEG"
  bool exact_name = false;
};

// The mask of a region of an RT Structure Set or Segmentation on the grid of a series. The region
// must be drawn in the frame of reference of the series or, where one of the two does not name its
// frame, on that very series; see FindRegion for its name.
// Errors: as dicom::ReadStructureSet, dicom::ReadSegmentation, FindRegion, FillContours and
// PlaceSegment; INVALID_ARGUMENT (MASK_SOURCE) for another kind of object, FAILED_PRECONDITION
// (ROI_OTHER_FRAME).
absl::StatusOr<LoadedMask> MaskFromObject(absl::string_view bytes, absl::string_view region,
                                          const ImageSeries& series, const GoOn& go_on = nullptr);

// The regions of a structure set or segmentation, and what they were drawn on.
struct RegionList {
  std::vector<std::string> names;
  std::vector<std::string> frames;             // frame of reference UID of each region, or empty
  std::vector<std::string> referenced_series;  // UIDs
};
// Errors: as MaskFromObject.
absl::StatusOr<RegionList> ListRegions(absl::string_view bytes, const GoOn& go_on = nullptr);

}  // namespace oncomesh::imaging
