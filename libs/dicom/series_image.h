// SPDX-License-Identifier: Apache-2.0
// What an image object says about its place in space and the meaning of its numbers. One object
// may hold one slice or, in the enhanced classes, many. Nothing here says who the patient is.
#pragma once

#include <array>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "libs/base/stop.h"

namespace oncomesh::dicom {

// One plane of pixels in the patient's coordinates (PS3.3 C.7.6.2): LPS, millimetres.
struct Slice {
  std::array<double, 3> position{};     // of the centre of the first pixel
  std::array<double, 6> orientation{};  // unit vectors along a row, then along a column
  double row_spacing = 0;               // between rows: along a column
  double column_spacing = 0;            // between columns: along a row
  double slope = 1;                     // rescale, PS3.3 C.11.1
  double intercept = 0;
  // slope * stored + intercept or OutsideValue, column fastest; empty when only the header was
  // read.
  std::vector<float> values;
};

// What a PET object says about dose and time (PS3.3 C.8.9). Texts are as written.
struct PetHeader {
  std::string units;                     // (0054,1001): BQML, CNTS, GML, …
  std::string suv_type;                  // (0054,1006): BW, LBM, BSA, … or empty
  std::string decay_correction;          // (0054,1102): START, ADMIN, NONE
  std::vector<std::string> corrections;  // (0028,0051)
  std::string series_date, series_time;
  std::string acquisition_date, acquisition_time;
  std::string injection_time;       // (0018,1072)
  std::string injection_date_time;  // (0018,1078), or empty
  std::string timezone;             // (0008,0201), or empty
  // Radiopharmaceuticals given; times, dose and half-life are those of the first.
  size_t drugs = 0;
  std::optional<double> dose_bq;  // (0018,1074)
  std::optional<double> half_life_s;
  std::string nuclide;                       // code value of (0054,0300), or empty
  std::optional<double> frame_reference_ms;  // (0054,1300)
  std::optional<double> frame_duration_ms;   // (0018,1242)
  std::optional<double> weight_kg;
  std::optional<double> height_m;
  std::string sex;
  // Philips' own factors for CNTS, (7053,xx00) and (7053,xx09).
  std::optional<double> philips_suv_factor;
  std::optional<double> philips_activity_factor;
};

struct ImageObject {
  std::string sop_class_uid;
  std::string sop_instance_uid;
  std::string series_uid;
  std::string frame_of_reference_uid;  // empty when absent
  std::string modality;
  int rows = 0;
  int columns = 0;
  std::optional<double> slice_thickness_mm;  // nominal, (0018,0050)
  std::optional<double> slice_spacing_mm;    // (0018,0088)
  std::vector<Slice> slices;
  std::optional<PetHeader> pet;
};

// The value of what is not there in an image of this modality: air in CT, else nothing.
inline float OutsideValue(absl::string_view modality) { return modality == "CT" ? -1000.0f : 0.0f; }

// Reads an image object. Padded pixels (PS3.3 C.7.5.1.1.2: the stored value is Pixel Padding Value,
// or between it and Pixel Padding Range Limit) have the modality's OutsideValue. With `pixels`
// false only the header counts, and an encoding we cannot decode is no error. `go_on` is asked for
// each frame. Any thread. Errors: those of ParseObject, ReadPixelFormat and DecodeFrames;
// INVALID_ARGUMENT (IMAGE_NO_PLACE) when position, orientation or spacing is missing or makes no
// plane, (RESCALE_INVALID); UNIMPLEMENTED (MODALITY_LUT) for values that only a lookup table
// explains; ABORTED (STOPPED).
absl::StatusOr<ImageObject> ReadImage(absl::string_view bytes, bool pixels = true,
                                      const base::GoOn& go_on = nullptr);

// What a folder's sorting needs to know of an object without reading all of it.
struct ObjectSummary {
  std::string sop_class_uid;
  std::string modality;
  std::string series_uid;
  bool has_pixels = false;
  // A scout image from which the scan was planned: value 3 of Image Type or a later one is
  // LOCALIZER (PS3.3 C.8.2.1.1.1), or SCOUT, which some devices write.
  bool localiser = false;
};

// Errors: INVALID_ARGUMENT (DICOM_UNREADABLE).
absl::StatusOr<ObjectSummary> Summarise(absl::string_view bytes);

}  // namespace oncomesh::dicom
