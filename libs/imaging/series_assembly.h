// SPDX-License-Identifier: Apache-2.0
// Makes one volume of the slices of a series, or says why they make none. Nothing is guessed: a
// missing, doubled, turned or shifted slice is an error with a reason of its own.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "libs/dicom/series_image.h"
#include "libs/imaging/volume.h"

namespace oncomesh::imaging {

struct ImageSeries {
  Volume volume;
  std::string modality;
  std::string series_uid;
  std::string frame_of_reference_uid;
  size_t slices = 0;
  // Of PET: the header of the object that was acquired first, and of several that of the frame
  // whose reference time comes first.
  std::optional<dicom::PetHeader> pet;
};

// What the geometry of a series is like, whether or not it makes a volume.
struct SeriesGeometry {
  Grid grid;
  double min_step_mm = 0;  // between neighbouring slices, along the normal
  double max_step_mm = 0;
  std::vector<std::pair<size_t, size_t>> order;  // (object, slice) from the first to the last
};

// Slices are put in order along the normal of their plane, row direction × column direction, so the
// volume's axes are always right-handed. Where directions or spacings differ within the tolerances,
// the volume has those of its first slice, whatever order the objects come in.
// Tolerances: directions 1e-3, in-plane spacing 1e-3 relative, steps between slices 1 % or 0.01 mm,
// shift of a slice within its plane 0.1 pixel; positions nearer than 1 % of the step are the same.
// Errors, all INVALID_ARGUMENT: SERIES_EMPTY, SERIES_MIXED (more than one series, modality or frame
// of reference), SERIES_MIXED_MATRIX (rows and columns), SERIES_MIXED_SPACING,
// SERIES_MIXED_ORIENTATION, SERIES_DUPLICATE_POSITION, SERIES_GAP, SERIES_UNEVEN_SPACING,
// SERIES_SHEARED (gantry tilt: slices shifted within their plane), GRID_INVALID.
absl::StatusOr<SeriesGeometry> CheckSeriesGeometry(const std::vector<dicom::ImageObject>& objects);

// The volume of the series; takes the pixel values out of `objects`, which were read with pixels.
// Errors: as CheckSeriesGeometry; SERIES_PET_MIXED when dose, units or corrections differ.
absl::StatusOr<ImageSeries> AssembleSeries(std::vector<dicom::ImageObject> objects);

}  // namespace oncomesh::imaging
