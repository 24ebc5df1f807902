// SPDX-License-Identifier: Apache-2.0
#include "libs/imaging/series_files.h"

#include <set>

#include "absl/strings/ascii.h"
#include "absl/strings/strip.h"
#include "libs/base/error.h"
#include "libs/base/files.h"
#include "libs/base/status_macros.h"
#include "libs/crypto/digest.h"

namespace oncomesh::imaging {
namespace {

using absl::StatusCode;

absl::Status CheckFrame(absl::string_view region_frame, const ImageSeries& series) {
  if (region_frame.empty() || series.frame_of_reference_uid.empty() ||
      region_frame == series.frame_of_reference_uid) {
    return absl::OkStatus();
  }
  return base::Error(StatusCode::kFailedPrecondition, "ROI_OTHER_FRAME",
                     "the region was drawn in another frame of reference than that of the series; "
                     "use the series it was drawn on");
}

}  // namespace

bool HasDicomMagic(absl::string_view bytes) {
  return bytes.size() >= 132 && bytes.substr(128, 4) == "DICM";
}

absl::StatusOr<LoadedSeries> LoadSeries(const std::vector<std::string>& paths,
                                        const std::function<void()>& advance) {
  LoadedSeries out;
  std::vector<dicom::ImageObject> objects;
  std::set<std::string> seen;
  for (const std::string& path : paths) {
    ASSIGN_OR_RETURN(std::string bytes, base::ReadFile(path));
    auto image = dicom::ReadImage(bytes);
    if (advance) advance();
    const std::string reason = base::ReasonOf(image.status());
    const bool foreign = reason == "DICOM_UNREADABLE" && !HasDicomMagic(bytes);
    if (!image.ok() && (foreign || reason == "PIXELS_MISSING")) {
      ++out.other_files;
      continue;
    }
    RETURN_IF_ERROR(image.status());
    if (image->modality == "SEG") {
      ++out.other_files;
      continue;
    }
    std::string digest = crypto::Sha256Hex(bytes);
    if (!seen.insert(digest).second) {
      ++out.copies;
      continue;
    }
    out.sha256.push_back(std::move(digest));
    objects.push_back(*std::move(image));
  }
  ASSIGN_OR_RETURN(out.series, AssembleSeries(std::move(objects)));
  return out;
}

absl::StatusOr<LoadedMask> MaskFromObject(absl::string_view bytes, absl::string_view region,
                                          const ImageSeries& series) {
  LoadedMask out;
  ASSIGN_OR_RETURN(dicom::ObjectSummary summary, dicom::Summarise(bytes));
  out.kind = summary.modality;
  out.sha256 = crypto::Sha256Hex(bytes);
  std::vector<std::string> names;
  if (summary.modality == "RTSTRUCT") {
    ASSIGN_OR_RETURN(dicom::StructureSet set, dicom::ReadStructureSet(bytes));
    for (const auto& one : set.regions) names.push_back(one.name);
    ASSIGN_OR_RETURN(size_t found, FindRegion(names, region));
    RETURN_IF_ERROR(CheckFrame(set.regions[found].frame_of_reference_uid, series));
    ASSIGN_OR_RETURN(out.result, FillContours(set.regions[found], series.volume.grid));
    out.exact_name = names[found] == absl::StripAsciiWhitespace(region);
    return out;
  }
  if (summary.modality == "SEG") {
    ASSIGN_OR_RETURN(dicom::Segmentation segmentation, dicom::ReadSegmentation(bytes));
    for (const auto& one : segmentation.segments) names.push_back(one.label);
    ASSIGN_OR_RETURN(size_t found, FindRegion(names, region));
    RETURN_IF_ERROR(CheckFrame(segmentation.frame_of_reference_uid, series));
    ASSIGN_OR_RETURN(out.result, PlaceSegment(segmentation, found, series.volume.grid));
    out.exact_name = names[found] == absl::StripAsciiWhitespace(region);
    return out;
  }
  return base::Error(StatusCode::kInvalidArgument, "MASK_SOURCE",
                     "a mask is made from an RT Structure Set or a Segmentation; the file is "
                     "neither");
}

}  // namespace oncomesh::imaging
