// SPDX-License-Identifier: Apache-2.0
#include "libs/dicom/structure_set.h"

#include <algorithm>
#include <unordered_map>

#include "absl/strings/str_cat.h"
#include "libs/base/error.h"
#include "libs/base/status_macros.h"
#include "libs/dicom/pixel_data.h"
#include "libs/dicom/series_elements.h"

namespace oncomesh::dicom {
namespace {

constexpr char kStructureSetStorage[] = "1.2.840.10008.5.1.4.1.1.481.3";
constexpr size_t kMaxPoints = 4'000'000;
constexpr size_t kMaxRegions = 65'536;

absl::Status Invalid(absl::string_view why) {
  return base::Error(absl::StatusCode::kInvalidArgument, "STRUCTURE_SET_INVALID",
                     absl::StrCat("not a usable RT Structure Set: ", why));
}

absl::StatusOr<Contour> ReadContour(DcmItem& item, size_t& points) {
  Contour contour;
  std::string type = Text(item, DCM_ContourGeometricType);
  if (type == "CLOSED_PLANAR") contour.type = Contour::Type::kClosedPlanar;
  if (type == "CLOSEDPLANAR_XOR") contour.type = Contour::Type::kClosedPlanarXor;
  DcmElement* data = nullptr;
  if (item.findAndGetElement(DCM_ContourData, data).bad() || data == nullptr) return contour;
  OFString text;
  if (data->getOFStringArray(text, /*normalize=*/false).bad()) {
    return Invalid("contour data are no numbers");
  }
  // One pass over the text: asking DCMTK value by value is quadratic.
  std::array<double, 3> point{};
  size_t axis = 0;
  const char* begin = text.c_str();
  const char* end = begin + text.length();
  for (const char* at = begin; at <= end; ++at) {
    if (at != end && *at != '\\') continue;
    OFBool good = OFFalse;
    std::string value(
        absl::StripAsciiWhitespace(absl::string_view(begin, static_cast<size_t>(at - begin))));
    while (!value.empty() && value.back() == '\0') value.pop_back();
    if (value.empty() && at == end && axis == 0) break;
    point[axis] = OFStandard::atof(value.c_str(), &good);
    if (!good || !std::isfinite(point[axis])) return Invalid("contour data are no numbers");
    begin = at + 1;
    if (++axis < 3) continue;
    axis = 0;
    if (++points > kMaxPoints) return Invalid("more than 4 million contour points");
    contour.points.push_back(point);
  }
  if (axis != 0) return Invalid("contour data are not triplets");
  return contour;
}

}  // namespace

absl::StatusOr<StructureSet> ReadStructureSet(absl::string_view bytes, const base::GoOn& go_on) {
  ASSIGN_OR_RETURN(std::unique_ptr<DcmFileFormat> file, ParseObject(bytes));
  DcmDataset& dataset = *file->getDataset();
  if (Text(dataset, DCM_SOPClassUID) != kStructureSetStorage) {
    return Invalid("the object is of another class");
  }
  StructureSet out;
  RETURN_IF_ERROR(ForEachItem(dataset, DCM_ReferencedFrameOfReferenceSequence, [&](DcmItem& frame) {
    return ForEachItem(frame, DCM_RTReferencedStudySequence, [&](DcmItem& study) {
      return ForEachItem(study, DCM_RTReferencedSeriesSequence, [&](DcmItem& series) {
        if (out.referenced_series.size() == kMaxReferencedSeries) {
          return Invalid("it refers to more than 10,000 series");
        }
        out.referenced_series.push_back(Text(series, DCM_SeriesInstanceUID));
        return absl::OkStatus();
      });
    });
  }));
  std::unordered_map<int, size_t> places;  // of the regions by their numbers
  RETURN_IF_ERROR(ForEachItem(dataset, DCM_StructureSetROISequence, [&](DcmItem& item) {
    auto number = WholeNumber(item, DCM_ROINumber);
    if (out.regions.size() == kMaxRegions) return Invalid("more than 65,536 regions");
    if (!number) return Invalid("a region has no number");
    RegionOfInterest region;
    region.number = *number;
    region.name = Text(item, DCM_ROIName);
    region.frame_of_reference_uid = Text(item, DCM_ReferencedFrameOfReferenceUID);
    places.emplace(region.number, out.regions.size());
    out.regions.push_back(std::move(region));
    return absl::OkStatus();
  }));
  size_t points = 0;
  RETURN_IF_ERROR(ForEachItem(dataset, DCM_ROIContourSequence, [&](DcmItem& item) -> absl::Status {
    auto number = WholeNumber(item, DCM_ReferencedROINumber);
    auto place = number ? places.find(*number) : places.end();
    if (place == places.end()) return Invalid("contours of a region that is not listed");
    RegionOfInterest& region = out.regions[place->second];
    return ForEachItem(item, DCM_ContourSequence, [&](DcmItem& one) -> absl::Status {
      RETURN_IF_ERROR(base::CheckGoOn(go_on));
      ASSIGN_OR_RETURN(Contour contour, ReadContour(one, points));
      region.contours.push_back(std::move(contour));
      return absl::OkStatus();
    });
  }));
  return out;
}

}  // namespace oncomesh::dicom
