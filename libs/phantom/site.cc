// SPDX-License-Identifier: Apache-2.0
#include "libs/phantom/site.h"

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"

namespace oncomesh::phantom {
namespace {

struct Vendor {
  absl::string_view manufacturer;
  absl::string_view family;
  absl::string_view kernels[3];  // no, one and two smoothing passes
};

// Invented, so that nobody takes a phantom's site effect for a real scanner's.
constexpr Vendor kVendors[] = {
    {"Vendor Alpha Medical", "Alpha", {"SHARP", "STANDARD", "SOFT"}},
    {"Vendor Beta Imaging", "Betascan", {"B60", "B40", "B20"}},
    {"Vendor Gamma Healthcare", "Gamma", {"FC50", "FC30", "FC10"}},
    {"Vendor Delta Systems", "Deltaview", {"D", "C", "A"}},
    {"Vendor Epsilon", "Eps", {"BONE", "CHEST", "SOFT"}},
};
constexpr absl::string_view kMrModels[] = {"MR 1.5T", "MR 1.5T Plus", "MR 3T"};
constexpr absl::string_view kPetCtModels[] = {"PET/CT 500", "PET/CT 600", "PET/CT 710"};

double Rounded(double value, double step) {
  return static_cast<double>(static_cast<int64_t>(value / step + 0.5)) * step;
}

Scanner MakeScanner(const Key& site, absl::string_view upper_name, Modality modality) {
  bool mr = modality == Modality::kMr;
  // CT and PET are two halves of one machine.
  Stream machine(site.Below("machine").Below(mr ? "MR" : "PET/CT"));
  const Vendor& vendor = kVendors[machine.Integer(0, 4)];
  Scanner out;
  out.manufacturer = std::string(vendor.manufacturer);
  int model = machine.Integer(0, 2);
  out.model = absl::StrCat(vendor.family, " ", mr ? kMrModels[model] : kPetCtModels[model]);
  out.station = absl::StrCat(upper_name.substr(0, 10), mr ? "-MR" : "-PC", machine.Integer(1, 4));
  out.serial = absl::StrCat("SN", machine.Integer(100000, 999999));
  // One draw a statement: the order within an expression is the compiler's choice.
  int release = machine.Integer(3, 9);
  int patch = machine.Integer(0, 9);
  out.software = absl::StrCat("syn ", release, ".", patch);
  Stream draw(site.Below("protocol").Below(ModalityName(modality)));
  out.signed_pixels = draw.Chance(0.5);
  out.head_to_foot = draw.Chance(0.5);
  out.blur_passes = draw.Integer(0, modality == Modality::kCt ? 1 : 2);
  switch (modality) {
    case Modality::kCt:
      out.pixel_mm = Rounded(draw.Uniform(4.0, 4.6), 0.05);
      out.slice_mm = Rounded(draw.Uniform(4.0, 6.0), 0.25);
      out.noise = draw.Uniform(6, 16);
      break;
    case Modality::kMr:
      out.pixel_mm = Rounded(draw.Uniform(4.0, 4.6), 0.05);
      out.slice_mm = Rounded(draw.Uniform(4.5, 6.5), 0.25);
      out.noise = draw.Uniform(0.03, 0.08);
      out.gain = draw.Uniform(0.5, 2.5);
      out.offset = draw.Uniform(0, 40);
      break;
    case Modality::kPt:
      out.matrix = 72;
      out.pixel_mm = Rounded(draw.Uniform(5.5, 6.2), 0.05);
      out.slice_mm = Rounded(draw.Uniform(4.0, 5.5), 0.25);
      out.noise = draw.Uniform(0.10, 0.25);
      // The point spread of a PET scanner is never narrower than its voxels.
      out.blur_passes += 1;
      // An error of the calibration against the dose calibrator.
      out.gain = draw.Uniform(0.88, 1.12);
      break;
  }
  int kernel = modality == Modality::kPt ? out.blur_passes - 1 : out.blur_passes;
  out.kernel = std::string(vendor.kernels[kernel]);
  return out;
}

}  // namespace

absl::string_view ModalityName(Modality modality) {
  switch (modality) {
    case Modality::kCt:
      return "CT";
    case Modality::kMr:
      return "MR";
    case Modality::kPt:
      return "PT";
  }
  return "";
}

const Scanner& Site::ScannerFor(Modality modality) const {
  return modality == Modality::kCt ? ct : modality == Modality::kMr ? mr : pt;
}

Site MakeSite(const Key& root, absl::string_view name) {
  Key key = root.Below("site").Below(name);
  std::string upper = absl::AsciiStrToUpper(name);
  Site site;
  site.name = std::string(name);
  site.institution = absl::StrCat("Phantom Hospital ", name);
  Stream draw(key.Below("profile"));
  site.address = absl::StrCat(draw.Integer(1, 199), " rue du Fantôme, Testville");
  site.ct = MakeScanner(key, upper, Modality::kCt);
  site.mr = MakeScanner(key, upper, Modality::kMr);
  site.pt = MakeScanner(key, upper, Modality::kPt);
  for (size_t i = 0; i < Topographies().size(); ++i) site.case_mix.push_back(draw.Uniform(0.5, 2));
  site.tumour_scale = draw.Uniform(0.9, 1.25);
  return site;
}

const std::vector<Topography>& Topographies() {
  static const auto& table = *new std::vector<Topography>{
      {"C49.2",
       "soft tissue of lower limb and hip",
       Region::kThigh,
       false,
       {"8850/3", "8802/3", "8890/3", "9040/3"}},
      {"C49.3", "soft tissue of thorax", Region::kChest, false, {"8802/3", "8811/3"}},
      {"C49.5", "soft tissue of pelvis", Region::kPelvis, false, {"8850/3", "8890/3"}},
      {"C50.4", "upper-outer quadrant of breast", Region::kChest, true, {"8500/3", "8520/3"}},
      {"C34.1", "upper lobe, lung", Region::kChest, false, {"8140/3", "8070/3"}},
      {"C20.9", "rectum, NOS", Region::kPelvis, false, {"8140/3", "8480/3"}},
  };
  return table;
}

}  // namespace oncomesh::phantom
