// SPDX-License-Identifier: Apache-2.0
// Standardised uptake values of PET series (PS3.16 CID 85; the decision table of the QIBA vendor-
// neutral pseudo-code). A number is given only when every value it rests on is there and plausible.
#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "libs/dicom/series_image.h"
#include "libs/imaging/volume.h"

namespace oncomesh::imaging {

enum class SuvKind {
  kBodyWeight,   // g/ml, per body weight
  kLeanBody,     // g/ml, per lean body mass after James: 1.10 W − 120 (W/H)² for men,
                 // 1.07 W − 148 (W/H)² for women, W in kg, H in cm (PS3.16, 126402)
  kBodySurface,  // cm²/ml, per body surface after Du Bois: W^0.425 H^0.725 · 0.007184 m²
};

struct SuvFactor {
  double factor = 0;  // SUV = factor · pixel value
  // What it was made of, for the record; none of it names a day.
  std::string source_units;
  std::string decay_rule;   // "start", "admin", "none needed"
  double decay_time_s = 0;  // from injection to the reference time of the image
  double decayed_dose_bq = 0;
};

// The factor for a series with this header. Dates need only be consistent with each other: shifted
// dates give the same result.
// When was the injection? By the scan's clock, not after the scan and at most ten half-lives
// before:
// - Radiopharmaceutical Start DateTime decides. With an offset from UTC it is brought to the scan's
//   clock by Timezone Offset From UTC; when the scan has none, Radiopharmaceutical Start Time,
//   which is by the scan's clock, is taken on the day that fits it. A date alone has that time too.
// - Radiopharmaceutical Start Time without a date is taken on the only day that is possible: that
//   of the scan or, over midnight, the one before. Where the tracer lives long enough for two days
//   (beyond 2.4 hours always) the series is refused.
// Errors, all FAILED_PRECONDITION: SUV_UNITS_UNSUPPORTED, SUV_NOT_CORRECTED (attenuation or decay),
// SUV_DECAY_UNKNOWN, SUV_DOSE_MISSING, SUV_DOSE_IMPLAUSIBLE (below 1 MBq or above 10 GBq),
// SUV_DOSE_AMBIGUOUS (more than one radiopharmaceutical), SUV_HALF_LIFE_MISSING,
// SUV_HALF_LIFE_IMPLAUSIBLE (below a minute, above three years, or more than a twentieth off that
// of the radionuclide the series names, for those that patients are given), SUV_WEIGHT_MISSING,
// SUV_HEIGHT_MISSING, SUV_SEX_MISSING, SUV_TIME_MISSING, SUV_TIME_IMPLAUSIBLE, SUV_TIME_AMBIGUOUS.
absl::StatusOr<SuvFactor> ComputeSuvFactor(const dicom::PetHeader& pet, SuvKind kind);

// Multiplies every voxel.
void Scale(Volume& volume, double factor);

// "bw", "lbm" or "bsa". Errors: INVALID_ARGUMENT (SUV_KIND_UNKNOWN).
absl::StatusOr<SuvKind> ParseSuvKind(absl::string_view name);
const char* SuvKindName(SuvKind kind);

}  // namespace oncomesh::imaging
