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
// dates give the same result. An injection time without a date is of the day of the scan, or of the
// day before when it is later than the scan; it is also what counts beside a date and time with an
// offset from UTC, which alone needs the scan's Timezone Offset From UTC.
// Errors, all FAILED_PRECONDITION: SUV_UNITS_UNSUPPORTED, SUV_NOT_CORRECTED (attenuation or decay),
// SUV_DECAY_UNKNOWN, SUV_DOSE_MISSING, SUV_HALF_LIFE_MISSING, SUV_WEIGHT_MISSING,
// SUV_HEIGHT_MISSING, SUV_SEX_MISSING, SUV_TIME_MISSING, SUV_TIME_IMPLAUSIBLE.
absl::StatusOr<SuvFactor> ComputeSuvFactor(const dicom::PetHeader& pet, SuvKind kind);

// Multiplies every voxel.
void Scale(Volume& volume, double factor);

// "bw", "lbm" or "bsa". Errors: INVALID_ARGUMENT (SUV_KIND_UNKNOWN).
absl::StatusOr<SuvKind> ParseSuvKind(absl::string_view name);
const char* SuvKindName(SuvKind kind);

}  // namespace oncomesh::imaging
