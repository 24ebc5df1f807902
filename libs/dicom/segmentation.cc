// SPDX-License-Identifier: Apache-2.0
#include "libs/dicom/segmentation.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "libs/base/error.h"
#include "libs/base/status_macros.h"
#include "libs/dicom/pixel_data.h"
#include "libs/dicom/series_elements.h"

namespace oncomesh::dicom {
namespace {

constexpr char kSegmentationStorage[] = "1.2.840.10008.5.1.4.1.1.66.4";

absl::Status Invalid(absl::string_view why) {
  return base::Error(absl::StatusCode::kInvalidArgument, "SEGMENTATION_INVALID",
                     absl::StrCat("not a usable Segmentation: ", why));
}

}  // namespace

absl::StatusOr<Segmentation> ReadSegmentation(absl::string_view bytes) {
  ASSIGN_OR_RETURN(ImageObject image, ReadImage(bytes));
  if (image.sop_class_uid != kSegmentationStorage) return Invalid("the object is of another class");
  ASSIGN_OR_RETURN(std::unique_ptr<DcmFileFormat> file, ParseObject(bytes));
  DcmDataset& dataset = *file->getDataset();

  Segmentation out;
  out.frame_of_reference_uid = image.frame_of_reference_uid;
  out.rows = image.rows;
  out.columns = image.columns;
  double scale = 1;
  std::string type = Text(dataset, DCM_SegmentationType);
  if (type == "FRACTIONAL") {
    auto maximum = Number(dataset, DCM_MaximumFractionalValue);
    if (!maximum || *maximum <= 0) return Invalid("fractional without a maximum");
    scale = 1 / *maximum;
  } else if (type != "BINARY") {
    return Invalid("its type is neither BINARY nor FRACTIONAL");
  }
  for (signed long i = 0;; ++i) {
    DcmItem* series = nullptr;
    if (dataset.findAndGetSequenceItem(DCM_ReferencedSeriesSequence, series, i).bad()) break;
    out.referenced_series.push_back(Text(*series, DCM_SeriesInstanceUID));
  }
  for (signed long i = 0;; ++i) {
    DcmItem* item = nullptr;
    if (dataset.findAndGetSequenceItem(DCM_SegmentSequence, item, i).bad()) break;
    auto number = WholeNumber(*item, DCM_SegmentNumber);
    if (!number) return Invalid("a segment has no number");
    out.segments.push_back({*number, Text(*item, DCM_SegmentLabel), {}});
  }
  for (size_t frame = 0; frame < image.slices.size(); ++frame) {
    FunctionalGroups groups(dataset, /*enhanced=*/true, frame);
    DcmItem* item = groups.Find(DCM_SegmentIdentificationSequence);
    auto number = item == nullptr ? std::nullopt : WholeNumber(*item, DCM_ReferencedSegmentNumber);
    auto segment = std::find_if(out.segments.begin(), out.segments.end(),
                                [&](const Segment& s) { return number && s.number == *number; });
    if (segment == out.segments.end()) return Invalid("a frame belongs to no listed segment");
    Slice& slice = image.slices[frame];
    for (float& value : slice.values) value = static_cast<float>(value * scale);
    segment->slices.push_back(std::move(slice));
  }
  return out;
}

}  // namespace oncomesh::dicom
