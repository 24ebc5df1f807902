// SPDX-License-Identifier: Apache-2.0
#include "libs/dicom/segmentation.h"

#include <unordered_map>

#include "absl/strings/str_cat.h"
#include "libs/base/error.h"
#include "libs/base/status_macros.h"
#include "libs/dicom/pixel_data.h"
#include "libs/dicom/series_elements.h"

namespace oncomesh::dicom {
namespace {

constexpr char kSegmentationStorage[] = "1.2.840.10008.5.1.4.1.1.66.4";
constexpr size_t kMaxSegments = 65'535;  // their numbers have 16 bits

absl::Status Invalid(absl::string_view why) {
  return base::Error(absl::StatusCode::kInvalidArgument, "SEGMENTATION_INVALID",
                     absl::StrCat("not a usable Segmentation: ", why));
}

}  // namespace

absl::StatusOr<Segmentation> ReadSegmentation(absl::string_view bytes, const base::GoOn& go_on) {
  ASSIGN_OR_RETURN(ImageObject image, ReadImage(bytes, /*pixels=*/true, go_on));
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
  RETURN_IF_ERROR(ForEachItem(dataset, DCM_ReferencedSeriesSequence, [&](DcmItem& series) {
    if (out.referenced_series.size() == kMaxReferencedSeries) {
      return Invalid("it refers to more than 10,000 series");
    }
    out.referenced_series.push_back(Text(series, DCM_SeriesInstanceUID));
    return absl::OkStatus();
  }));
  std::unordered_map<int, size_t> places;  // of the segments by their numbers
  RETURN_IF_ERROR(ForEachItem(dataset, DCM_SegmentSequence, [&](DcmItem& item) {
    auto number = WholeNumber(item, DCM_SegmentNumber);
    if (!number) return Invalid("a segment has no number");
    if (out.segments.size() == kMaxSegments) return Invalid("more than 65,535 segments");
    places.emplace(*number, out.segments.size());
    out.segments.push_back({*number, Text(item, DCM_SegmentLabel), {}});
    return absl::OkStatus();
  }));
  FunctionalGroups groups(dataset, /*enhanced=*/true, image.slices.size());
  for (size_t frame = 0; frame < image.slices.size(); ++frame) {
    RETURN_IF_ERROR(base::CheckGoOn(go_on));
    DcmItem* item = groups.Find(frame, DCM_SegmentIdentificationSequence);
    auto number = item == nullptr ? std::nullopt : WholeNumber(*item, DCM_ReferencedSegmentNumber);
    auto place = number ? places.find(*number) : places.end();
    if (place == places.end()) return Invalid("a frame belongs to no listed segment");
    Slice& slice = image.slices[frame];
    for (float& value : slice.values) value = static_cast<float>(value * scale);
    out.segments[place->second].slices.push_back(std::move(slice));
  }
  return out;
}

}  // namespace oncomesh::dicom
