// SPDX-License-Identifier: Apache-2.0
#include "libs/dicom/series_image.h"

#include <dcmtk/config/osconfig.h>
// After osconfig.h.
#include <dcmtk/dcmdata/dctk.h>

#include <algorithm>
#include <cmath>
#include <cstdint>

#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "libs/base/error.h"
#include "libs/base/status_macros.h"
#include "libs/dicom/pixel_data.h"
#include "libs/dicom/series_elements.h"

namespace oncomesh::dicom {
namespace {

using absl::StatusCode;

absl::Status NoPlace(absl::string_view why) {
  return base::Error(
      StatusCode::kInvalidArgument, "IMAGE_NO_PLACE",
      absl::StrCat("an image does not say where it is: ", why, "; it cannot be part of a volume"));
}

// Cosines are written with few digits; further off than this they are no pair of axes.
constexpr double kUnitTolerance = 1e-3;
// Further away, or coarser, nothing of a patient is, mm.
constexpr double kFarthest = 1e6;
constexpr double kCoarsest = 1e4;

// Reads the places of an object's frames, one after the other. What several frames share is read
// once: an item may be large, and the frames many.
class Places {
 public:
  Places(DcmItem& dataset, bool enhanced, size_t frames) : groups_(dataset, enhanced, frames) {}

  // The frame's place and the meaning of its numbers, without values.
  absl::StatusOr<Slice> Read(size_t frame) {
    RETURN_IF_ERROR(ReadPlane(frame));
    RETURN_IF_ERROR(ReadRescale(frame));
    return slice_;
  }
  // Of the frame that was read last.
  DcmItem& measures() const { return *measures_; }

 private:
  absl::Status ReadPlane(size_t frame);
  absl::Status ReadPosition(DcmItem& item);
  absl::Status ReadOrientation(DcmItem& item);
  absl::Status ReadMeasures(DcmItem& item);
  absl::Status ReadRescale(size_t frame);

  FunctionalGroups groups_;
  // Where the values of `slice_` come from.
  DcmItem* position_ = nullptr;
  DcmItem* orientation_ = nullptr;
  DcmItem* measures_ = nullptr;
  DcmItem* rescale_ = nullptr;
  Slice slice_;
};

absl::Status Places::ReadPlane(size_t frame) {
  DcmItem* position = groups_.Find(frame, DCM_PlanePositionSequence);
  DcmItem* orientation = groups_.Find(frame, DCM_PlaneOrientationSequence);
  DcmItem* measures = groups_.Find(frame, DCM_PixelMeasuresSequence);
  if (position == nullptr || orientation == nullptr || measures == nullptr) {
    return NoPlace("plane position, orientation or pixel measures are missing");
  }
  if (position != position_) RETURN_IF_ERROR(ReadPosition(*position));
  if (orientation != orientation_) RETURN_IF_ERROR(ReadOrientation(*orientation));
  if (measures != measures_) RETURN_IF_ERROR(ReadMeasures(*measures));
  position_ = position;
  orientation_ = orientation;
  measures_ = measures;
  return absl::OkStatus();
}

absl::Status Places::ReadPosition(DcmItem& item) {
  for (size_t i = 0; i < 3; ++i) {
    auto value = Number(item, DCM_ImagePositionPatient, i);
    if (!value || std::abs(*value) > kFarthest) {
      return NoPlace("Image Position (Patient) is missing or no place");
    }
    slice_.position[i] = *value;
  }
  return absl::OkStatus();
}

absl::Status Places::ReadOrientation(DcmItem& item) {
  for (size_t i = 0; i < 6; ++i) {
    auto value = Number(item, DCM_ImageOrientationPatient, i);
    if (!value) return NoPlace("Image Orientation (Patient) is missing or no number");
    slice_.orientation[i] = *value;
  }
  const std::array<double, 6>& o = slice_.orientation;
  double row = std::hypot(o[0], o[1], o[2]), column = std::hypot(o[3], o[4], o[5]);
  if (std::abs(row - 1) > kUnitTolerance || std::abs(column - 1) > kUnitTolerance ||
      std::abs(o[0] * o[3] + o[1] * o[4] + o[2] * o[5]) > kUnitTolerance) {
    return NoPlace("its orientation is not two unit vectors at a right angle");
  }
  return absl::OkStatus();
}

absl::Status Places::ReadMeasures(DcmItem& item) {
  auto row_spacing = Number(item, DCM_PixelSpacing, 0);
  auto column_spacing = Number(item, DCM_PixelSpacing, 1);
  auto usable = [](std::optional<double> mm) { return mm && *mm >= 1e-6 && *mm <= kCoarsest; };
  if (!usable(row_spacing) || !usable(column_spacing)) {
    return NoPlace("Pixel Spacing is missing or impossible");
  }
  slice_.row_spacing = *row_spacing;
  slice_.column_spacing = *column_spacing;
  return absl::OkStatus();
}

absl::Status Places::ReadRescale(size_t frame) {
  DcmItem* item = groups_.Find(frame, DCM_PixelValueTransformationSequence);
  if (item == rescale_) return absl::OkStatus();
  rescale_ = item;
  slice_.slope = 1;
  slice_.intercept = 0;
  if (item == nullptr) return absl::OkStatus();
  for (auto [tag, out] : {std::pair{DCM_RescaleSlope, &slice_.slope},
                          std::pair{DCM_RescaleIntercept, &slice_.intercept}}) {
    if (!item->tagExistsWithValue(tag)) continue;
    auto value = Number(*item, tag);
    if (!value || (tag == DCM_RescaleSlope && *value == 0)) {
      return base::Error(StatusCode::kInvalidArgument, "RESCALE_INVALID",
                         "rescale slope or intercept of an image is no usable number");
    }
    *out = *value;
  }
  return absl::OkStatus();
}

// Stored values that stand for no pixel, both ends included; empty when first > last.
struct Padding {
  float first = 1, last = 0;
};

Padding ReadPadding(DcmDataset& dataset, const PixelFormat& format) {
  auto read = [&](const DcmTagKey& tag) -> std::optional<float> {
    DcmElement* element = nullptr;
    if (dataset.findAndGetElement(tag, element).bad() || element == nullptr) return std::nullopt;
    // US or SS by Pixel Representation; where the other one was written the bits are meant.
    Uint16 bits = 0;
    Sint16 number = 0;
    if (element->getSint16(number).good()) {
      bits = static_cast<Uint16>(number);
    } else if (element->getUint16(bits).bad()) {
      return std::nullopt;
    }
    return format.is_signed ? static_cast<float>(static_cast<int16_t>(bits))
                            : static_cast<float>(bits);
  };
  auto value = read(DCM_PixelPaddingValue);
  if (!value) return {};
  const float limit = read(DCM_PixelPaddingRangeLimit).value_or(*value);
  return {std::min(*value, limit), std::max(*value, limit)};
}

std::optional<double> PrivateNumber(DcmDataset& dataset, uint16_t group, const char* creator,
                                    uint16_t element) {
  for (uint16_t block = 0x10; block <= 0xff; ++block) {
    if (Text(dataset, DcmTagKey(group, block)) != creator) continue;
    return Number(dataset, DcmTagKey(group, static_cast<Uint16>((block << 8) | element)));
  }
  return std::nullopt;
}

PetHeader ReadPet(DcmDataset& dataset) {
  PetHeader pet;
  pet.units = Text(dataset, DCM_Units);
  pet.suv_type = Text(dataset, DCM_SUVType);
  pet.decay_correction = Text(dataset, DCM_DecayCorrection);
  for (unsigned long i = 0; i < 32; ++i) {
    OFString value;
    if (dataset.findAndGetOFString(DCM_CorrectedImage, value, i).bad()) break;
    pet.corrections.emplace_back(absl::StripAsciiWhitespace(value.c_str()));
  }
  pet.series_date = Text(dataset, DCM_SeriesDate);
  pet.series_time = Text(dataset, DCM_SeriesTime);
  pet.acquisition_date = Text(dataset, DCM_AcquisitionDate);
  pet.acquisition_time = Text(dataset, DCM_AcquisitionTime);
  pet.timezone = Text(dataset, DCM_TimezoneOffsetFromUTC);
  pet.frame_reference_ms = Number(dataset, DCM_FrameReferenceTime);
  pet.frame_duration_ms = Number(dataset, DCM_ActualFrameDuration);
  pet.weight_kg = Number(dataset, DCM_PatientWeight);
  pet.height_m = Number(dataset, DCM_PatientSize);
  pet.sex = Text(dataset, DCM_PatientSex);
  DcmItem* drug = nullptr;
  if (DcmSequenceOfItems* drugs = nullptr;
      dataset.findAndGetSequence(DCM_RadiopharmaceuticalInformationSequence, drugs).good() &&
      drugs != nullptr && drugs->card() > 0) {
    pet.drugs = drugs->card();
    drug = drugs->getItem(0);
    pet.injection_time = Text(*drug, DCM_RadiopharmaceuticalStartTime);
    pet.injection_date_time = Text(*drug, DCM_RadiopharmaceuticalStartDateTime);
    pet.dose_bq = Number(*drug, DCM_RadionuclideTotalDose);
    pet.half_life_s = Number(*drug, DCM_RadionuclideHalfLife);
    if (DcmItem* code = nullptr;
        drug->findAndGetSequenceItem(DCM_RadionuclideCodeSequence, code, 0).good() &&
        code != nullptr) {
      pet.nuclide = Text(*code, DCM_CodeValue);
    }
  }
  pet.philips_suv_factor = PrivateNumber(dataset, 0x7053, "Philips PET Private Group", 0x00);
  pet.philips_activity_factor = PrivateNumber(dataset, 0x7053, "Philips PET Private Group", 0x09);
  return pet;
}

}  // namespace

absl::StatusOr<ImageObject> ReadImage(absl::string_view bytes, bool pixels,
                                      const base::GoOn& go_on) {
  ASSIGN_OR_RETURN(std::unique_ptr<DcmFileFormat> file, ParseObject(bytes));
  DcmDataset& dataset = *file->getDataset();
  ImageObject out;
  out.sop_class_uid = Text(dataset, DCM_SOPClassUID);
  out.sop_instance_uid = Text(dataset, DCM_SOPInstanceUID);
  out.series_uid = Text(dataset, DCM_SeriesInstanceUID);
  out.frame_of_reference_uid = Text(dataset, DCM_FrameOfReferenceUID);
  out.modality = Text(dataset, DCM_Modality);
  ASSIGN_OR_RETURN(PixelFormat format, ReadPixelFormat(*file));
  out.rows = format.rows;
  out.columns = format.columns;
  if (dataset.tagExistsWithValue(DCM_ModalityLUTSequence)) {
    return base::Error(StatusCode::kUnimplemented, "MODALITY_LUT",
                       "pixel values of the series have a meaning only through a modality lookup "
                       "table; choose a series with rescale slope and intercept");
  }
  if (out.modality == "PT") out.pet = ReadPet(dataset);

  const bool enhanced = dataset.tagExistsWithValue(DCM_PerFrameFunctionalGroupsSequence) ||
                        dataset.tagExistsWithValue(DCM_SharedFunctionalGroupsSequence);
  if (!enhanced && format.frames != 1) return NoPlace("many frames and no place for each of them");
  Places places(dataset, enhanced, static_cast<size_t>(format.frames));
  for (size_t frame = 0; frame < static_cast<size_t>(format.frames); ++frame) {
    RETURN_IF_ERROR(base::CheckGoOn(go_on));
    ASSIGN_OR_RETURN(Slice slice, places.Read(frame));
    if (frame == 0) {
      out.slice_thickness_mm = Number(places.measures(), DCM_SliceThickness);
      out.slice_spacing_mm = Number(places.measures(), DCM_SpacingBetweenSlices);
    }
    out.slices.push_back(std::move(slice));
  }
  if (!pixels) return out;
  ASSIGN_OR_RETURN(auto frames, DecodeFrames(*file, format, go_on));
  const Padding padding = ReadPadding(dataset, format);
  const float outside = OutsideValue(out.modality);
  for (size_t i = 0; i < frames.size(); ++i) {
    Slice& slice = out.slices[i];
    slice.values = std::move(frames[i]);
    if (slice.slope == 1 && slice.intercept == 0 && padding.first > padding.last) continue;
    for (float& value : slice.values) {
      const bool padded = value >= padding.first && value <= padding.last;
      value = padded
                  ? outside
                  : static_cast<float>(static_cast<double>(value) * slice.slope + slice.intercept);
    }
  }
  return out;
}

absl::StatusOr<ObjectSummary> Summarise(absl::string_view bytes) {
  ASSIGN_OR_RETURN(std::unique_ptr<DcmFileFormat> file, ParseObject(bytes));
  DcmDataset& dataset = *file->getDataset();
  ObjectSummary out;
  out.sop_class_uid = Text(dataset, DCM_SOPClassUID);
  out.modality = Text(dataset, DCM_Modality);
  out.series_uid = Text(dataset, DCM_SeriesInstanceUID);
  out.has_pixels = dataset.tagExists(DCM_Rows) && dataset.tagExists(DCM_Columns);
  constexpr unsigned long kMaxTypes = 32;
  for (unsigned long i = 2; i < kMaxTypes; ++i) {
    OFString value;
    if (dataset.findAndGetOFString(DCM_ImageType, value, i).bad()) break;
    const absl::string_view type = absl::StripAsciiWhitespace(value.c_str());
    out.localiser = out.localiser || type == "LOCALIZER" || type == "SCOUT";
  }
  return out;
}

}  // namespace oncomesh::dicom
