// SPDX-License-Identifier: Apache-2.0
// The images and contours of one patient become volumes on a common grid. Pure: files in, volumes
// out; the same files and request give the same volumes on every machine.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "libs/imaging/normalise.h"
#include "libs/imaging/sidecar.h"
#include "libs/imaging/stop.h"
#include "libs/imaging/volume.h"

namespace oncomesh::harmonisation {

// What to make of one modality.
struct ModalityPlan {
  std::string modality;    // "CT", "PT", "MR"
  std::string series_uid;  // empty: the only series of the modality that is no localiser
  std::optional<imaging::NormalisationMethod> normalisation;
  bool bias_field_correction = false;  // of MR
};

struct CasePlan {
  std::vector<ModalityPlan> modalities;        // the first one's series gives the grid
  std::optional<imaging::Vector3> spacing_mm;  // of the grid; nothing: the series' own
  std::string region;                          // of the mask; empty: none
};

struct PreparedImage {
  std::string modality;  // empty for the mask
  imaging::Volume volume;
  imaging::Sidecar sidecar;
  std::vector<std::string> used_sha256;  // of every file that went into it
};

// A series of an asked modality that was no candidate.
struct LeftOutSeries {
  std::string modality;
  std::string sha256;  // imaging::SeriesDigest of its files
  size_t objects = 0;
  std::string why;  // "localiser"
};

struct PreparedCase {
  imaging::Grid grid;
  std::vector<PreparedImage> images;  // in the order of the plan
  std::optional<PreparedImage> mask;
  size_t mask_voxels = 0;
  std::vector<std::string> used_sha256;  // of every file that went into it
  std::vector<LeftOutSeries> left_out;   // the records of the images have them too
};

// Takes an image as soon as it is made; an error ends the preparation.
using KeepImage = std::function<absl::Status(PreparedImage)>;

// Values of a plan that make no sense together, or are outside libs/imaging/case_limits.h. Errors:
// INVALID_ARGUMENT (CASE_INVALID).
absl::Status CheckCasePlan(const CasePlan& plan);

// Prepares the case of the files at `paths`: images, structure sets and segmentations of a patient,
// in any order; others are passed over. For each modality: assemble the only series, where those
// that consist of localisers (scouts) are no candidates, PT to SUV by body weight, N4 if asked,
// normalise by all voxels of the series, then resample linearly onto the common grid. Beyond its
// image, CT is air (-1000 HU, normalised alike) and everything else 0.
// The mask comes from the structure set or segmentation that refers to the grid's series, else
// from one that refers to another series of the case; it is filled on that series' own grid. A
// region with holes between its slices (MaskResult::holes) is refused: nobody can say whether it
// was not drawn there or is not there.
// `go_on` is asked between files and steps and during long ones. Any thread.
// Errors: those of imaging::LoadSeries, MaskFromObject, ComputeSuvFactor, CorrectBiasField and
// FitNormalisation; FAILED_PRECONDITION (CASE_MODALITY_MISSING, CASE_AMBIGUOUS, CASE_OTHER_FRAME,
// ROI_HOLES), INVALID_ARGUMENT (CASE_INVALID; GRID_INVALID for a common grid of more than
// kMaxCaseVoxels), ABORTED (STOPPED).
absl::StatusOr<PreparedCase> PrepareCase(const std::vector<std::string>& paths,
                                         const CasePlan& plan,
                                         const imaging::GoOn& go_on = nullptr);

// The same, but gives each image, and the mask last, to `keep` before the next one is made: at no
// time is more than one of them in memory. The case that is returned has none. Errors: also those
// of `keep`, after which some images may have been kept.
absl::StatusOr<PreparedCase> PrepareCase(const std::vector<std::string>& paths,
                                         const CasePlan& plan, const KeepImage& keep,
                                         const imaging::GoOn& go_on);

}  // namespace oncomesh::harmonisation
