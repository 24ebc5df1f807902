// SPDX-License-Identifier: Apache-2.0
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "libs/phantom/series.h"

namespace oncomesh::phantom {
namespace {

constexpr int kOutlinePoints = 72;
// What PS3.3 C.8.8.5 asks for as the class of a referenced study (retired, still required there).
constexpr char kDetachedStudy[] = "1.2.840.10008.3.1.2.3.1";

DataSet Reference(absl::string_view sop_class, absl::string_view instance) {
  return DataSet().Text(0x00081150, "UI", sop_class).Text(0x00081155, "UI", instance);
}

}  // namespace

std::string StructureSetFile(const Patient& patient, const Site& site, const Anatomy& anatomy,
                             const Series& series) {
  const Grid& grid = series.grid;
  const char* image_class = SopClass(series.modality);
  // Drawn the day after, at a workstation.
  absl::CivilSecond drawn = series.series_time + 22 * 3600;
  std::string day = DicomDate(absl::CivilDay(drawn)), time = DicomTime(drawn);

  std::vector<DataSet> images, contours;
  for (int slice = 0; slice < grid.slices; ++slice) {
    DataSet image = Reference(image_class, series.sop_uids[slice]);
    images.push_back(image);
    std::vector<Point2> outline = anatomy.tumour().Outline(grid.Z(slice), kOutlinePoints);
    if (outline.empty()) continue;
    std::string points;
    for (const Point2& point : outline) {
      absl::StrAppend(
          &points, points.empty() ? "" : "\\",
          absl::StrFormat("%.3f\\%.3f\\%.3f", point.x + series.origin[0],
                          point.y + series.origin[1], grid.Z(slice) + series.origin[2]));
    }
    contours.push_back(DataSet()
                           .Items(0x30060016, {image})
                           .Text(0x30060042, "CS", "CLOSED_PLANAR")
                           .Integer(0x30060046, kOutlinePoints)
                           .Text(0x30060050, "DS", points));
  }

  DataSet out = CommonElements(patient, site, series);
  out.Text(0x00080016, "UI", kStructureSetStorage);
  Key key = patient.key.Below("structure set").Below(ModalityName(series.modality));
  out.Text(0x00080018, "UI", key.Below("instance").Uid());
  out.Text(0x0020000e, "UI", key.Below("series").Uid());
  out.Text(0x00080012, "DA", day).Text(0x00080013, "TM", time);
  out.Text(0x00080021, "DA", day).Text(0x00080031, "TM", time);
  out.Text(0x00080060, "CS", "RTSTRUCT");
  out.Text(0x0008103e, "LO", absl::StrCat("GTV on ", ModalityName(series.modality)));
  out.Text(0x00080070, "LO", "Vendor Zeta Planning").Text(0x00081090, "LO", "Zeta Contour");
  out.Text(0x00181020, "LO", "syn 4.2");
  out.Integer(0x00200011, 100 + series.series_number);
  out.Text(0x30060002, "SH", "GTV").Text(0x30060004, "LO", "Gross tumour volume");
  out.Text(0x30060008, "DA", day).Text(0x30060009, "TM", time);
  out.Items(0x30060010,
            {DataSet()
                 .Text(0x00200052, "UI", series.frame_of_reference_uid)
                 .Items(0x30060012,
                        {Reference(kDetachedStudy, series.study_uid)
                             .Items(0x30060014, {DataSet()
                                                     .Text(0x0020000e, "UI", series.series_uid)
                                                     .Items(0x30060016, images)})})});
  out.Items(0x30060020, {DataSet()
                             .Integer(0x30060022, 1)
                             .Text(0x30060024, "UI", series.frame_of_reference_uid)
                             .Text(0x30060026, "LO", "GTV_Mass")
                             .Text(0x30060036, "CS", "MANUAL")});
  out.Items(0x30060039, {DataSet()
                             .Text(0x3006002a, "IS", "255\\0\\0")
                             .Items(0x30060040, contours)
                             .Integer(0x30060084, 1)});
  out.Items(0x30060080, {DataSet()
                             .Integer(0x30060082, 1)
                             .Integer(0x30060084, 1)
                             .Text(0x300600a4, "CS", "GTV")
                             .Text(0x300600a6, "PN", patient.referring_physician)});
  out.Text(0x300e0002, "CS", "UNAPPROVED");
  return out.EncodeFile();
}

}  // namespace oncomesh::phantom
