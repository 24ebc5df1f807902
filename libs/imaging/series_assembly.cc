// SPDX-License-Identifier: Apache-2.0
#include "libs/imaging/series_assembly.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <tuple>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "libs/base/error.h"
#include "libs/base/status_macros.h"

namespace oncomesh::imaging {
namespace {

using dicom::ImageObject;
using dicom::Slice;

constexpr double kDirectionTolerance = 1e-3;
constexpr double kSpacingTolerance = 1e-3;
constexpr double kStepTolerance = 0.01;
constexpr double kStepToleranceMm = 0.01;
constexpr double kShiftTolerance = 0.1;  // pixels
// A step this much larger than the usual one has room for a slice that is not there.
constexpr double kGap = 1.5;

absl::Status Fault(absl::string_view reason, absl::string_view message,
                   std::map<std::string, std::string> metadata = {}) {
  return base::Error(absl::StatusCode::kInvalidArgument, reason, message, std::move(metadata));
}

// A slice that is the same one in whatever order the objects come; there is one.
const Slice& AnyPlane(const std::vector<ImageObject>& objects) {
  const Slice* least = nullptr;
  for (const ImageObject& object : objects) {
    for (const Slice& slice : object.slices) {
      if (least == nullptr || std::tie(slice.position, slice.orientation) <
                                  std::tie(least->position, least->orientation)) {
        least = &slice;
      }
    }
  }
  return *least;
}

absl::Status CheckAlike(const std::vector<ImageObject>& objects) {
  const ImageObject& first = objects.front();
  const Slice& plane = AnyPlane(objects);
  for (const ImageObject& object : objects) {
    if (object.series_uid != first.series_uid || object.modality != first.modality) {
      return Fault("SERIES_MIXED",
                   "the images belong to more than one series; give the folder of one series");
    }
    if (object.frame_of_reference_uid != first.frame_of_reference_uid) {
      return Fault("SERIES_MIXED",
                   "the images of the series have different frames of reference: the patient or "
                   "the table was moved between them");
    }
    if (object.rows != first.rows || object.columns != first.columns) {
      return Fault("SERIES_MIXED_MATRIX",
                   "the images of the series differ in rows or columns (a localiser among them?)");
    }
    for (const Slice& slice : object.slices) {
      for (size_t i = 0; i < 6; ++i) {
        if (std::abs(slice.orientation[i] - plane.orientation[i]) > kDirectionTolerance) {
          return Fault("SERIES_MIXED_ORIENTATION",
                       "the images of the series are not parallel (a localiser among them, or a "
                       "radial acquisition)");
        }
      }
      if (std::abs(slice.row_spacing / plane.row_spacing - 1) > kSpacingTolerance ||
          std::abs(slice.column_spacing / plane.column_spacing - 1) > kSpacingTolerance) {
        return Fault("SERIES_MIXED_SPACING", "the images of the series differ in pixel spacing");
      }
    }
  }
  return absl::OkStatus();
}

// Row, column and normal as an exactly orthonormal, right-handed set.
Matrix3 Axes(const Slice& plane) {
  Vector3 row = {plane.orientation[0], plane.orientation[1], plane.orientation[2]};
  Vector3 column = {plane.orientation[3], plane.orientation[4], plane.orientation[5]};
  double length = Length(row);
  for (double& value : row) value /= length;
  double overlap = Dot(row, column);
  for (size_t i = 0; i < 3; ++i) column[i] -= overlap * row[i];
  length = Length(column);
  for (double& value : column) value /= length;
  Vector3 normal = Cross(row, column);
  Matrix3 axes;
  for (size_t i = 0; i < 3; ++i) axes[i] = {row[i] + 0.0, column[i] + 0.0, normal[i] + 0.0};
  return axes;
}

double Median(std::vector<double> values) {
  auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
  std::nth_element(values.begin(), middle, values.end());
  return *middle;
}

struct Placed {
  size_t object, slice;
  Vector3 at;  // row, column and normal coordinate, mm
};

const Slice& SliceOf(const std::vector<ImageObject>& objects, const Placed& placed) {
  return objects[placed.object].slices[placed.slice];
}

// All slices from the first to the last along the normal of `plane`.
std::vector<Placed> PlaceAlong(const std::vector<ImageObject>& objects, const Slice& plane) {
  Grid at_origin;  // only turns positions into the coordinates of the axes
  at_origin.direction = Axes(plane);
  std::vector<Placed> placed;
  for (size_t i = 0; i < objects.size(); ++i) {
    for (size_t k = 0; k < objects[i].slices.size(); ++k) {
      placed.push_back({i, k, at_origin.Index(objects[i].slices[k].position)});
    }
  }
  std::sort(placed.begin(), placed.end(),
            [](const Placed& a, const Placed& b) { return a.at[2] < b.at[2]; });
  return placed;
}

absl::Status CheckSteps(const std::vector<Placed>& placed, const Slice& plane,
                        SeriesGeometry& out) {
  std::vector<double> steps;
  for (size_t i = 1; i < placed.size(); ++i) {
    steps.push_back(placed[i].at[2] - placed[i - 1].at[2]);
  }
  const double usual = Median(steps);
  out.min_step_mm = *std::min_element(steps.begin(), steps.end());
  out.max_step_mm = *std::max_element(steps.begin(), steps.end());
  const double span = placed.back().at[2] - placed.front().at[2];
  if (out.min_step_mm <= std::max(1e-3, kStepTolerance * usual)) {
    auto doubled = std::count_if(steps.begin(), steps.end(), [&](double step) {
      return step <= std::max(1e-3, kStepTolerance * usual);
    });
    return Fault("SERIES_DUPLICATE_POSITION",
                 "several images of the series are at the same place (repeated in time, or more "
                 "than one contrast); split the series before making a volume of it",
                 {{"doubled", absl::StrCat(doubled)}});
  }
  if (out.max_step_mm > kGap * usual) {
    auto gaps =
        std::count_if(steps.begin(), steps.end(), [&](double step) { return step > kGap * usual; });
    return Fault("SERIES_GAP", "slices are missing in the series; fetch it again",
                 {{"gaps", absl::StrCat(gaps)},
                  {"usualStepMm", absl::StrFormat("%.3f", usual)},
                  {"largestStepMm", absl::StrFormat("%.3f", out.max_step_mm)}});
  }
  const double mean = span / static_cast<double>(steps.size());
  for (size_t i = 0; i < placed.size(); ++i) {
    double expected = placed.front().at[2] + mean * static_cast<double>(i);
    double tolerance = std::max(kStepToleranceMm, kStepTolerance * mean);
    bool step_off = i > 0 && std::abs(steps[i - 1] - mean) > tolerance;
    // Small steps may add up to a bend.
    if (step_off || std::abs(placed[i].at[2] - expected) > 10 * tolerance) {
      return Fault("SERIES_UNEVEN_SPACING",
                   "the distance between slices changes within the series; resample it to even "
                   "slices where it was made",
                   {{"smallestStepMm", absl::StrFormat("%.3f", out.min_step_mm)},
                    {"largestStepMm", absl::StrFormat("%.3f", out.max_step_mm)}});
    }
  }
  for (const Placed& one : placed) {
    if (std::abs(one.at[0] - placed.front().at[0]) > kShiftTolerance * plane.column_spacing ||
        std::abs(one.at[1] - placed.front().at[1]) > kShiftTolerance * plane.row_spacing) {
      return Fault("SERIES_SHEARED",
                   "slices are shifted within their plane from one to the next (a tilted gantry); "
                   "such a series has no straight grid");
    }
  }
  out.grid.spacing[2] = mean;
  return absl::OkStatus();
}

// The moment of an object as something that can be compared; objects without a time come last.
auto Moment(const dicom::PetHeader& pet) {
  return std::tuple(absl::StrCat(pet.acquisition_date.empty() ? "~" : pet.acquisition_date,
                                 pet.acquisition_time.empty() ? "~" : pet.acquisition_time),
                    pet.frame_reference_ms, pet.frame_duration_ms);
}

auto DoseKey(const dicom::PetHeader& pet) {
  return std::tie(pet.units, pet.suv_type, pet.decay_correction, pet.corrections, pet.series_date,
                  pet.series_time, pet.injection_time, pet.injection_date_time, pet.timezone,
                  pet.drugs, pet.dose_bq, pet.half_life_s, pet.nuclide, pet.weight_kg, pet.height_m,
                  pet.sex, pet.philips_suv_factor, pet.philips_activity_factor);
}

}  // namespace

absl::StatusOr<SeriesGeometry> CheckSeriesGeometry(const std::vector<ImageObject>& objects) {
  bool empty = true;
  for (const ImageObject& object : objects) empty = empty && object.slices.empty();
  if (empty) return Fault("SERIES_EMPTY", "there is no image to make a volume of");
  RETURN_IF_ERROR(CheckAlike(objects));

  // Two at the same place are an error further on, so each of these slices is a certain one.
  std::vector<Placed> placed = PlaceAlong(objects, AnyPlane(objects));
  placed = PlaceAlong(objects, SliceOf(objects, placed.front()));
  const ImageObject& first = objects[placed.front().object];
  const Slice& plane = SliceOf(objects, placed.front());
  SeriesGeometry out;
  out.grid.direction = Axes(plane);
  out.grid.origin = plane.position;
  out.grid.size = {first.columns, first.rows, static_cast<int64_t>(placed.size())};
  out.grid.spacing = {plane.column_spacing, plane.row_spacing, 1};
  if (placed.size() > 1) {
    RETURN_IF_ERROR(CheckSteps(placed, plane, out));
  } else {
    double step = 0;  // some devices write 0 for what they do not know
    for (std::optional<double> mm : {first.slice_thickness_mm, first.slice_spacing_mm}) {
      if (mm && *mm > 0) step = *mm;
    }
    if (!(step > 0)) {
      return Fault("SERIES_UNEVEN_SPACING",
                   "the series has one slice, and no thickness is given for it");
    }
    out.grid.spacing[2] = out.min_step_mm = out.max_step_mm = step;
  }
  RETURN_IF_ERROR(CheckGrid(out.grid));
  for (const Placed& one : placed) out.order.emplace_back(one.object, one.slice);
  return out;
}

absl::StatusOr<ImageSeries> AssembleSeries(std::vector<ImageObject> objects) {
  ASSIGN_OR_RETURN(SeriesGeometry geometry, CheckSeriesGeometry(objects));
  ImageSeries out;
  out.modality = objects.front().modality;
  out.series_uid = objects.front().series_uid;
  out.frame_of_reference_uid = objects.front().frame_of_reference_uid;
  out.slices = geometry.order.size();
  for (const ImageObject& object : objects) {
    if (!object.pet.has_value()) continue;
    if (out.pet.has_value() && DoseKey(*out.pet) != DoseKey(*object.pet)) {
      return Fault("SERIES_PET_MIXED",
                   "the images of the PET series differ in units, dose, weight or corrections");
    }
    if (!out.pet.has_value() || Moment(*object.pet) < Moment(*out.pet)) out.pet = object.pet;
  }
  out.volume.grid = geometry.grid;
  const size_t plane = static_cast<size_t>(geometry.grid.size[0] * geometry.grid.size[1]);
  // Reserved, not filled: memory moves from the slices to the volume as they are taken over.
  out.volume.voxels.reserve(static_cast<size_t>(geometry.grid.voxels()));
  for (auto [object, slice] : geometry.order) {
    std::vector<float> values = std::move(objects[object].slices[slice].values);
    if (values.size() != plane) {
      return Fault("SERIES_EMPTY", "an image of the series was read without its pixels");
    }
    out.volume.voxels.insert(out.volume.voxels.end(), values.begin(), values.end());
  }
  return out;
}

}  // namespace oncomesh::imaging
