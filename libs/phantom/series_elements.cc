// SPDX-License-Identifier: Apache-2.0
#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "libs/phantom/series.h"

namespace oncomesh::phantom {
namespace {

absl::string_view BodyPart(Region region) {
  switch (region) {
    case Region::kChest:
      return "CHEST";
    case Region::kPelvis:
      return "PELVIS";
    case Region::kThigh:
      return "THIGH";
  }
  return "";
}

absl::string_view Title(Modality modality) {
  switch (modality) {
    case Modality::kCt:
      return "CT low dose for attenuation";
    case Modality::kMr:
      return "T1 TSE tra post contrast";
    case Modality::kPt:
      return "PET FDG static";
  }
  return "";
}

// What vendors hide in their own elements: names and numbers, some of them inside binary headers
// and nested sequences.
void AddPrivateElements(const Patient& patient, const Scanner& scanner, DataSet& out) {
  std::string creator = absl::AsciiStrToUpper(absl::StrCat(scanner.manufacturer, " HDR"));
  out.Text(0x00090010, "LO", creator);
  out.Text(0x00091001, "LO", patient.name);
  out.Text(0x00091002, "DA", DicomDate(patient.birth));
  out.Text(0x00091003, "UI", patient.key.Below("private").Uid());
  out.Text(0x00290010, "LO", creator);
  out.Bytes(0x00291010, absl::StrCat("SHDR1", std::string(3, '\0'), "PatID=", patient.id, "\n"));
  out.Items(0x00291020, {DataSet()
                             .Text(0x00100010, "PN", patient.name)
                             .Text(0x00100020, "LO", patient.id)
                             .Text(0x00290010, "LO", creator)
                             .Text(0x00291021, "LT", patient.note)});
}

}  // namespace

std::string DicomTime(absl::CivilSecond time) {
  return absl::StrFormat("%02d%02d%02d", time.hour(), time.minute(), time.second());
}

const char* SopClass(Modality modality) {
  switch (modality) {
    case Modality::kCt:
      return kCtImageStorage;
    case Modality::kMr:
      return kMrImageStorage;
    case Modality::kPt:
      return kPetImageStorage;
  }
  return "";
}

Series MakeSeries(const Patient& patient, const Site& site, Modality modality) {
  bool mr = modality == Modality::kMr;
  Key exam = patient.key.Below("exam").Below(mr ? "MR" : "PET/CT");
  Key key = exam.Below(ModalityName(modality));
  Series out;
  out.modality = modality;
  out.study_uid = exam.Below("study").Uid();
  out.frame_of_reference_uid = exam.Below("frame of reference").Uid();
  out.series_uid = key.Below("series").Uid();
  out.grid = GridOf(site.ScannerFor(modality));
  for (int i = 0; i < out.grid.slices; ++i) out.sop_uids.push_back(key.Below("instance", i).Uid());
  Stream draw(exam.Below("circumstances"));
  out.accession = absl::StrFormat("ACC%010d", draw.Integer(0, 999999999));
  out.study_id = absl::StrCat("E", draw.Integer(1000, 99999));
  out.study_time = absl::CivilSecond(mr ? patient.mr_day : patient.petct_day) +
                   draw.Integer(8 * 3600, 16 * 3600);
  // The whole table of the isocentre: scanners count from wherever they like.
  out.origin[0] = draw.Integer(-12, 12);
  out.origin[1] = draw.Integer(-160, 40);
  out.origin[2] = draw.Integer(-900, 200);
  if (draw.Chance(0.5)) out.origin[2] += 0.5;
  out.series_number = modality == Modality::kPt ? 4 : 2;
  out.series_time = out.study_time + (modality == Modality::kPt ? 260 : 95);
  return out;
}

DataSet CommonElements(const Patient& patient, const Site& site, const Series& series) {
  const Scanner& scanner = site.ScannerFor(series.modality);
  std::string upper = absl::AsciiStrToUpper(site.name);
  std::string day = DicomDate(absl::CivilDay(series.study_time));
  Region region = patient.topography->region;
  std::string body = absl::AsciiStrToLower(BodyPart(region));
  DataSet out;
  out.Text(0x00080005, "CS", "ISO_IR 192");
  out.Text(0x00080020, "DA", day).Text(0x00080030, "TM", DicomTime(series.study_time));
  out.Text(0x00080050, "SH", series.accession);
  out.Text(0x00080080, "LO", site.institution).Text(0x00080081, "ST", site.address);
  out.Text(0x00080090, "PN", patient.referring_physician);
  out.Text(0x00081010, "SH", scanner.station);
  out.Text(0x00081030, "LO",
           absl::StrCat(series.modality == Modality::kMr ? "MR " : "PET/CT ", body, " ",
                        patient.name.substr(0, 40)));
  out.Text(0x00081040, "LO", "Radiology");
  out.Text(0x00081048, "PN", absl::StrCat("RECORD^", upper, "^^Dr."));
  out.Text(0x00081050, "PN", absl::StrCat("PERFORMER^", upper, "^^Dr."));
  out.Text(0x00081070, "PN", absl::StrCat("OPERATOR^", upper));

  out.Text(0x00100010, "PN", patient.name).Text(0x00100020, "LO", patient.id);
  out.Text(0x00100021, "LO", patient.issuer);
  out.Text(0x00100030, "DA", DicomDate(patient.birth));
  out.Text(0x00100040, "CS", std::string(1, patient.sex));
  out.Items(0x00101002,
            {DataSet().Text(0x00100020, "LO", patient.other_id).Text(0x00100022, "CS", "TEXT")});
  out.Text(
      0x00101010, "AS",
      absl::StrFormat("%03dY", YearsBetween(patient.birth, absl::CivilDay(series.study_time))));
  out.Text(0x00101020, "DS", absl::StrFormat("%.2f", patient.height_m));
  out.Text(0x00101030, "DS", absl::StrFormat("%.1f", patient.weight_kg));
  out.Text(0x00101040, "LO", patient.address);
  out.Text(0x00102154, "SH", patient.telephone);
  out.Text(0x001021b0, "LT", patient.note);
  out.Text(0x00104000, "LT",
           absl::StrCat("Next of kin of ", patient.name, ": ", patient.telephone));

  out.Text(0x00180015, "CS", BodyPart(region));
  out.Text(0x0020000d, "UI", series.study_uid).Text(0x00200010, "SH", series.study_id);
  out.Text(0x00200052, "UI", series.frame_of_reference_uid).Text(0x00201040, "LO", "");
  out.Text(
      0x00321060, "LO",
      absl::StrCat(patient.topography->description, ", ", patient.left_side ? "left" : "right"));
  out.Text(0x00400244, "DA", day).Text(0x00400245, "TM", DicomTime(series.study_time));
  out.Text(0x00400253, "SH", absl::StrCat("PPS", series.study_id));
  out.Text(0x00400254, "LO", absl::StrCat(Title(series.modality), " ", body));
  out.Items(0x00400275, {DataSet()
                             .Text(0x00400007, "LO", Title(series.modality))
                             .Text(0x00400009, "SH", absl::StrCat("SPS", series.study_id))
                             .Text(0x00401001, "SH", absl::StrCat("RP", series.study_id))});
  AddPrivateElements(patient, scanner, out);
  return out;
}

}  // namespace oncomesh::phantom
