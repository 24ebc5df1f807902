// SPDX-License-Identifier: Apache-2.0
#include "libs/imaging/series_files.h"

#include <algorithm>
#include <optional>
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

// One of the two is there.
struct RegionObject {
  RegionList list;
  std::optional<dicom::StructureSet> structure_set;
  std::optional<dicom::Segmentation> segmentation;
};

absl::StatusOr<RegionObject> ReadRegions(absl::string_view bytes, const GoOn& go_on) {
  RegionObject out;
  ASSIGN_OR_RETURN(dicom::ObjectSummary summary, dicom::Summarise(bytes));
  if (summary.modality == "RTSTRUCT") {
    ASSIGN_OR_RETURN(out.structure_set, dicom::ReadStructureSet(bytes, go_on));
    out.list.referenced_series = out.structure_set->referenced_series;
    for (const dicom::RegionOfInterest& one : out.structure_set->regions) {
      out.list.names.push_back(one.name);
      out.list.frames.push_back(one.frame_of_reference_uid);
    }
    return out;
  }
  if (summary.modality == "SEG") {
    ASSIGN_OR_RETURN(out.segmentation, dicom::ReadSegmentation(bytes, go_on));
    out.list.referenced_series = out.segmentation->referenced_series;
    for (const dicom::Segment& one : out.segmentation->segments) {
      out.list.names.push_back(one.label);
      out.list.frames.push_back(out.segmentation->frame_of_reference_uid);
    }
    return out;
  }
  return base::Error(StatusCode::kInvalidArgument, "MASK_SOURCE",
                     "a mask is made from an RT Structure Set or a Segmentation; the file is "
                     "neither");
}

absl::Status CheckFrame(const RegionList& list, size_t region, const ImageSeries& series) {
  const std::string& frame = list.frames[region];
  const bool named = !frame.empty() && !series.frame_of_reference_uid.empty();
  if (named && frame == series.frame_of_reference_uid) return absl::OkStatus();
  const bool drawn_on_it = !series.series_uid.empty() &&
                           std::find(list.referenced_series.begin(), list.referenced_series.end(),
                                     series.series_uid) != list.referenced_series.end();
  if (!named && drawn_on_it) return absl::OkStatus();
  return base::Error(StatusCode::kFailedPrecondition, "ROI_OTHER_FRAME",
                     named ? "the region was drawn in another frame of reference than that of the "
                             "series; use the series it was drawn on"
                           : "region and series do not name one frame of reference, and the region "
                             "does not refer to the series; use the series it was drawn on");
}

}  // namespace

bool HasDicomMagic(absl::string_view bytes) {
  return bytes.size() >= 132 && bytes.substr(128, 4) == "DICM";
}

absl::StatusOr<LoadedSeries> LoadSeries(const std::vector<std::string>& paths, const GoOn& go_on) {
  LoadedSeries out;
  std::vector<dicom::ImageObject> objects;
  std::set<std::string> seen;
  for (const std::string& path : paths) {
    ASSIGN_OR_RETURN(std::string bytes, base::ReadFile(path));
    auto image = dicom::ReadImage(bytes, /*pixels=*/true, go_on);
    RETURN_IF_ERROR(CheckGoOn(go_on));
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
                                          const ImageSeries& series, const GoOn& go_on) {
  LoadedMask out;
  out.sha256 = crypto::Sha256Hex(bytes);
  ASSIGN_OR_RETURN(RegionObject object, ReadRegions(bytes, go_on));
  out.kind = object.structure_set ? "RTSTRUCT" : "SEG";
  ASSIGN_OR_RETURN(size_t found, FindRegion(object.list.names, region));
  RETURN_IF_ERROR(CheckFrame(object.list, found, series));
  out.exact_name = object.list.names[found] == absl::StripAsciiWhitespace(region);
  const Grid& grid = series.volume.grid;
  if (object.structure_set) {
    ASSIGN_OR_RETURN(out.result, FillContours(object.structure_set->regions[found], grid, go_on));
  } else {
    ASSIGN_OR_RETURN(out.result, PlaceSegment(*object.segmentation, found, grid, go_on));
  }
  return out;
}

absl::StatusOr<RegionList> ListRegions(absl::string_view bytes, const GoOn& go_on) {
  ASSIGN_OR_RETURN(RegionObject object, ReadRegions(bytes, go_on));
  return std::move(object.list);
}

}  // namespace oncomesh::imaging
