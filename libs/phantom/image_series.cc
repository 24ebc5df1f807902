// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cmath>
#include <cstdlib>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "libs/phantom/series.h"

namespace oncomesh::phantom {
namespace {

constexpr double kF18HalfLifeSeconds = 6586.2;

double Parsed(const std::string& text) { return std::strtod(text.c_str(), nullptr); }

// Of the tracer, as it is written in the objects, so that a reader computes with the same numbers.
struct Injection {
  absl::CivilSecond time;
  int64_t becquerel;
  double weight_kg;

  // Becquerel per millilitre of an uptake value of 1 g/mL at `scan`.
  double ConcentrationPerSuv(absl::CivilSecond scan) const {
    double halvings = static_cast<double>(scan - time) / kF18HalfLifeSeconds;
    return static_cast<double>(becquerel) * std::exp2(-halvings) / (weight_kg * 1000);
  }
};

Injection InjectionOf(const Patient& patient, const Series& series) {
  Stream draw(patient.key.Below("injection"));
  Injection out;
  out.time = series.series_time - draw.Integer(52 * 60, 78 * 60);
  out.weight_kg = Parsed(absl::StrFormat("%.1f", patient.weight_kg));
  // 3 to 5 MBq per kilogram.
  out.becquerel = static_cast<int64_t>(out.weight_kg * draw.Uniform(3.0, 5.0) * 1000) * 1000;
  return out;
}

void AddSeries(const Patient& patient, const Scanner& scanner, const Series& series, DataSet& out) {
  std::string day = DicomDate(absl::CivilDay(series.series_time));
  std::string time = DicomTime(series.series_time);
  out.Text(0x00080016, "UI", SopClass(series.modality));
  out.Text(0x00080060, "CS", ModalityName(series.modality));
  for (Tag date : {0x00080012u, 0x00080021u, 0x00080022u, 0x00080023u}) out.Text(date, "DA", day);
  for (Tag at : {0x00080013u, 0x00080031u, 0x00080032u, 0x00080033u}) out.Text(at, "TM", time);
  out.Text(0x00080070, "LO", scanner.manufacturer).Text(0x00081090, "LO", scanner.model);
  out.Text(0x00181000, "LO", scanner.serial).Text(0x00181020, "LO", scanner.software);
  out.Text(0x0020000e, "UI", series.series_uid).Integer(0x00200011, series.series_number);
  out.Integer(0x00200012, 1);
  if (patient.topography->region == Region::kThigh) out.Text(0x00200062, "CS", "B");
  out.Text(0x00204000, "LT", absl::StrCat("Checked with ", patient.name, ", ", patient.id));

  const Grid& grid = series.grid;
  out.Decimals(0x00180050, {grid.slice_mm});
  out.Decimals(0x00200037, {1, 0, 0, 0, 1, 0});
  out.Uint16(0x00280002, 1).Text(0x00280004, "CS", "MONOCHROME2");
  out.Uint16(0x00280010, static_cast<uint16_t>(grid.rows));
  out.Uint16(0x00280011, static_cast<uint16_t>(grid.columns));
  out.Decimals(0x00280030, {grid.pixel_mm, grid.pixel_mm});
  out.Text(0x00280301, "CS", "NO");
}

void AddCt(const Scanner& scanner, const Series& series, DataSet& out) {
  out.Text(0x00080008, "CS", "ORIGINAL\\PRIMARY\\AXIAL");
  out.Text(0x0008103e, "LO", "CT WB 5.0 low dose");
  out.Text(0x00180022, "CS", "HELICAL MODE").Text(0x00180060, "DS", "120");
  out.Text(0x00181030, "LO", "PET/CT whole body");
  out.Decimals(0x00181100, {series.grid.pixel_mm * series.grid.columns});
  out.Decimals(0x00181120, {0}).Decimals(0x00181130, {-series.origin[1]});
  out.Integer(0x00181150, 500).Integer(0x00181151, 90).Integer(0x00181152, 45);
  out.Text(0x00181210, "SH", scanner.kernel).Text(0x00185100, "CS", "HFS");
  out.Text(0x00281050, "DS", "40").Text(0x00281051, "DS", "400");
  out.Text(0x00281052, "DS", scanner.signed_pixels ? "0" : "-1024");
  out.Text(0x00281053, "DS", "1").Text(0x00281054, "LO", "HU");
}

void AddMr(const Scanner& scanner, DataSet& out) {
  bool three_tesla = scanner.model.find("3T") != std::string::npos;
  out.Text(0x00080008, "CS", "ORIGINAL\\PRIMARY\\OTHER");
  out.Text(0x0008103e, "LO", "t1_tse_tra KM");
  out.Text(0x00180010, "LO", "GADOLINIUM CHELATE");
  out.Text(0x00180020, "CS", "SE").Text(0x00180021, "CS", "SK").Text(0x00180022, "CS", "");
  out.Text(0x00180023, "CS", "2D");
  out.Text(0x00180080, "DS", "550").Text(0x00180081, "DS", "11").Integer(0x00180091, 3);
  out.Text(0x00180084, "DS", three_tesla ? "123.25" : "63.87").Text(0x00180085, "SH", "1H");
  out.Text(0x00180087, "DS", three_tesla ? "3" : "1.5");
  out.Text(0x00181030, "LO", "soft tissue tumour").Text(0x00181250, "SH", "BODY");
  out.Text(0x00181314, "DS", "90").Text(0x00185100, "CS", "HFS");
}

void AddPet(const Injection& injection, const Scanner& scanner, const Series& series,
            DataSet& out) {
  out.Text(0x00080008, "CS", "ORIGINAL\\PRIMARY");
  out.Text(0x0008103e, "LO", "PET WB AC");
  out.Text(0x00181030, "LO", "PET/CT whole body").Text(0x00181210, "SH", scanner.kernel);
  out.Text(0x00181181, "CS", "NONE").Integer(0x00181242, 180000);
  out.Text(0x00280051, "CS", "DECY\\ATTN\\SCAT\\DTIM\\RAN\\NORM");
  std::string injected =
      absl::StrCat(DicomDate(absl::CivilDay(injection.time)), DicomTime(injection.time));
  DataSet tracer;
  tracer.Text(0x00180031, "LO", "Fluorodeoxyglucose F^18^");
  tracer.Text(0x00181072, "TM", DicomTime(injection.time));
  tracer.Text(0x00181074, "DS", absl::StrCat(injection.becquerel));
  tracer.Decimals(0x00181075, {kF18HalfLifeSeconds}).Decimals(0x00181076, {0.967});
  tracer.Text(0x00181078, "DT", injected);
  tracer.Code(0x00540300, "77004003", "SCT", "^18^Fluorine");
  tracer.Code(0x00540304, "35321007", "SCT", "Fluorodeoxyglucose F^18^");
  out.Items(0x00540016, {tracer});
  out.Uint16(0x00540081, static_cast<uint16_t>(series.grid.slices));
  DataSet recumbent;
  recumbent.Text(0x00080100, "SH", "102538003").Text(0x00080102, "SH", "SCT");
  recumbent.Text(0x00080104, "LO", "recumbent");
  recumbent.Code(0x00540412, "40199007", "SCT", "supine");
  out.Items(0x00540410, {recumbent});
  out.Code(0x00540414, "102540008", "SCT", "headfirst");
  out.Text(0x00541000, "CS", "STATIC\\IMAGE").Text(0x00541001, "CS", "BQML");
  out.Text(0x00541002, "CS", "EMISSION").Text(0x00541100, "CS", "DLYD");
  out.Text(0x00541101, "LO", "CT based").Text(0x00541102, "CS", "START");
  out.Text(0x00541103, "LO", absl::StrCat("OSEM 3i24s ", scanner.blur_passes, " mm"));
  out.Text(0x00541105, "LO", "Model based").Decimals(0x00541300, {90000});
  // Decay is corrected to the start of the series, where every bed position's factor is 1.
  out.Decimals(0x00541321, {1});
  out.Text(0x00541322, "DS", "1");
}

// The bits of a stored value, in the slice's 16-bit cells.
uint16_t Stored(double value, double low, double high) {
  return static_cast<uint16_t>(static_cast<int32_t>(std::clamp(std::round(value), low, high)));
}

void AddPixelFormat(uint16_t bits_stored, bool is_signed, DataSet& out) {
  out.Uint16(0x00280100, 16).Uint16(0x00280101, bits_stored);
  out.Uint16(0x00280102, static_cast<uint16_t>(bits_stored - 1));
  out.Uint16(0x00280103, is_signed ? 1 : 0);
}

}  // namespace

std::vector<std::string> ImageFiles(const Patient& patient, const Site& site,
                                    const Anatomy& anatomy, const Series& series) {
  const Scanner& scanner = site.ScannerFor(series.modality);
  const Grid& grid = series.grid;
  std::vector<float> signal = Render(anatomy, scanner, series.modality, patient.key);
  DataSet head = CommonElements(patient, site, series);
  AddSeries(patient, scanner, series, head);
  double per_suv = 0;
  switch (series.modality) {
    case Modality::kCt:
      AddCt(scanner, series, head);
      AddPixelFormat(scanner.signed_pixels ? 16 : 12, scanner.signed_pixels, head);
      break;
    case Modality::kMr:
      AddMr(scanner, head);
      AddPixelFormat(12, false, head);
      head.Text(0x00281050, "DS", absl::StrFormat("%.0f", 450 * scanner.gain));
      head.Text(0x00281051, "DS", absl::StrFormat("%.0f", 900 * scanner.gain));
      break;
    case Modality::kPt: {
      Injection injection = InjectionOf(patient, series);
      per_suv = injection.ConcentrationPerSuv(series.series_time);
      AddPet(injection, scanner, series, head);
      AddPixelFormat(16, scanner.signed_pixels, head);
      break;
    }
  }

  std::vector<std::string> files;
  size_t slice_size = static_cast<size_t>(grid.columns) * grid.rows;
  for (int number = 1; number <= grid.slices; ++number) {
    int slice = scanner.head_to_foot ? grid.slices - number : number - 1;
    DataSet image = head;
    image.Text(0x00080018, "UI", series.sop_uids[slice]).Integer(0x00200013, number);
    double z = grid.Z(slice) + series.origin[2];
    image.Decimals(0x00200032, {grid.X(0) + series.origin[0], grid.Y(0) + series.origin[1], z});
    image.Decimals(0x00201041, {z});
    const float* values = signal.data() + slice * slice_size;
    std::vector<uint16_t> words(slice_size);
    switch (series.modality) {
      case Modality::kCt: {
        double intercept = scanner.signed_pixels ? 0 : -1024;
        for (size_t i = 0; i < slice_size; ++i) {
          words[i] = scanner.signed_pixels ? Stored(values[i], -32768, 32767)
                                           : Stored(values[i] - intercept, 0, 4095);
        }
        break;
      }
      case Modality::kMr:
        for (size_t i = 0; i < slice_size; ++i) words[i] = Stored(values[i], 0, 4095);
        break;
      case Modality::kPt: {
        // Every slice is scaled by itself, as PET scanners do.
        float highest = *std::max_element(values, values + slice_size);
        double most = scanner.signed_pixels ? 32767 : 65535;
        std::string slope = absl::StrFormat("%.6g", std::max(highest * per_suv, 1.0) / most);
        double unit = Parsed(slope);
        for (size_t i = 0; i < slice_size; ++i)
          words[i] = Stored(values[i] * per_suv / unit, 0, most);
        image.Text(0x00281052, "DS", "0").Text(0x00281053, "DS", slope);
        image.Uint16(0x00541330, static_cast<uint16_t>(number));
        break;
      }
    }
    image.Words(0x7fe00010, words);
    files.push_back(image.EncodeFile());
  }
  return files;
}

}  // namespace oncomesh::phantom
