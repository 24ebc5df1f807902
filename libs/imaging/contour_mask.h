// SPDX-License-Identifier: Apache-2.0
// Contours and segmentation frames to a mask on a grid.
#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "libs/dicom/segmentation.h"
#include "libs/dicom/structure_set.h"
#include "libs/imaging/stop.h"
#include "libs/imaging/volume.h"

namespace oncomesh::imaging {

// Which of `names` is meant by `wanted`: the one that equals it, else the only one that does so
// without regard to case, else the only one that goes on after it with '_', '-', '.' or a space
// ("GTV_Mass" finds "GTV_Mass_CT").
// Errors: NOT_FOUND (ROI_NOT_FOUND), INVALID_ARGUMENT (ROI_AMBIGUOUS).
absl::StatusOr<size_t> FindRegion(const std::vector<std::string>& names, absl::string_view wanted);

struct MaskResult {
  Volume mask;          // 0 and 1
  size_t contours = 0;  // different ones
  size_t slices = 0;    // of the grid, with at least one voxel inside
  size_t voxels = 0;
  double volume_ml = 0;
  // Slices without a contour between two drawn ones whose insides overlap. Contours on every second
  // slice look like that, and a part that was forgotten; nothing is filled in. Between parts that
  // do not overlap there is room for slices that have none.
  size_t holes = 0;
};

// Fills the contours of a region. Each lies in the plane of a slice of the grid, at most a tenth of
// a slice off. A voxel is inside when its centre is, by the even-odd rule over all contours of one
// plane: an inner contour is a hole, and a keyhole path gives the same. An outline that is there
// twice counts once. Centres on an edge belong to the region on the side of lower indices, so that
// neighbouring regions share no voxel.
// Errors: FAILED_PRECONDITION (ROI_EMPTY) without a closed contour or a voxel inside,
// (ROI_OUTSIDE_SERIES) when a contour is beyond the first or last slice, (ROI_OTHER_PLANE) when it
// does not lie in a slice plane; ABORTED (STOPPED). Time grows with the points and, for each, the
// rows of the grid; `go_on` is asked for every contour and row.
absl::StatusOr<MaskResult> FillContours(const dicom::RegionOfInterest& region, const Grid& grid,
                                        const GoOn& go_on = nullptr);

// Puts the frames of a segment onto the grid; a voxel is inside when the segment's value at its
// centre is at least half. Frames must lie on the grid's own planes, at most a tenth of a slice
// off, and on its rows and columns, a twentieth of a voxel. `go_on` is asked for each frame.
// Errors: FAILED_PRECONDITION (ROI_EMPTY, ROI_OTHER_PLANE, ROI_OUTSIDE_SERIES); ABORTED (STOPPED).
absl::StatusOr<MaskResult> PlaceSegment(const dicom::Segmentation& segmentation, size_t segment,
                                        const Grid& grid, const GoOn& go_on = nullptr);

}  // namespace oncomesh::imaging
