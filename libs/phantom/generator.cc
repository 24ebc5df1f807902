// SPDX-License-Identifier: Apache-2.0
#include "libs/phantom/generator.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <set>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "libs/base/error.h"
#include "libs/base/files.h"
#include "libs/base/status_macros.h"
#include "libs/phantom/series.h"

namespace oncomesh::phantom {
namespace {

constexpr int kMostPatients = 9999;
constexpr size_t kLongestSiteName = 24;

absl::string_view FolderName(Modality modality) {
  switch (modality) {
    case Modality::kCt:
      return "CT";
    case Modality::kMr:
      return "MR_T1";
    case Modality::kPt:
      return "PET";
  }
  return "";
}

// Writes files and counts them.
class Output {
 public:
  Output(SiteResult& result, FileWritten written) : result_(result), written_(written) {}

  absl::Status Write(const std::string& path, absl::string_view content) {
    ASSIGN_OR_RETURN(base::AtomicFile file, base::AtomicFile::Create(path));
    RETURN_IF_ERROR(file.Append(content));
    // Anyone can make the same file again: it needs no journey to the disk's platter.
    RETURN_IF_ERROR(file.Commit(/*overwrite=*/false, /*sync=*/false));
    ++result_.files;
    result_.bytes += content.size();
    if (!written_(content.size())) {
      return base::Error(absl::StatusCode::kCancelled, "INTERRUPTED", "stopped before the end");
    }
    return absl::OkStatus();
  }

 private:
  SiteResult& result_;
  FileWritten written_;
};

nlohmann::json DescribeScanner(const Scanner& scanner) {
  return {{"manufacturer", scanner.manufacturer},
          {"model", scanner.model},
          {"pixelMm", scanner.pixel_mm},
          {"sliceMm", scanner.slice_mm},
          {"noise", scanner.noise},
          {"kernel", scanner.kernel},
          {"blurPasses", scanner.blur_passes},
          {"gain", scanner.gain},
          {"offset", scanner.offset}};
}

}  // namespace

bool IsSiteName(absl::string_view name) {
  if (name.empty() || name.size() > kLongestSiteName || !absl::ascii_isalnum(name[0])) return false;
  return std::all_of(name.begin(), name.end(), [](char c) {
    return absl::ascii_isalnum(static_cast<unsigned char>(c)) || c == '-' || c == '_';
  });
}

absl::Status Check(const Plan& plan) {
  auto invalid = [](absl::string_view message) {
    return base::Error(absl::StatusCode::kInvalidArgument, "PLAN_INVALID", message);
  };
  if (plan.sites.empty()) return invalid("name at least one site");
  std::set<std::string> seen;
  for (const std::string& site : plan.sites) {
    if (!IsSiteName(site)) {
      return invalid(
          "a site's name is 1 to 24 letters, digits, '-' or '_', beginning with a letter "
          "or digit");
    }
    // Folders that differ in case only are one folder on some file systems.
    if (!seen.insert(absl::AsciiStrToLower(site)).second) return invalid("name each site once");
  }
  if (plan.patients < 1 || plan.patients > kMostPatients) {
    return invalid("a site has 1 to 9999 patients");
  }
  std::set<Modality> modalities(plan.modalities.begin(), plan.modalities.end());
  if (modalities.empty() || modalities.size() != plan.modalities.size()) {
    return invalid("name each modality once, of CT, MR and PT");
  }
  return absl::OkStatus();
}

uint64_t CountFiles(const Plan& plan, absl::string_view site) {
  Site profile = MakeSite(Key(plan.seed), site);
  uint64_t per_patient = 0;
  for (Modality modality : plan.modalities) {
    per_patient += static_cast<uint64_t>(GridOf(profile.ScannerFor(modality)).slices) + 1;
  }
  return per_patient * static_cast<uint64_t>(plan.patients) + 1;
}

absl::StatusOr<SiteResult> WriteSite(const Plan& plan, absl::string_view site,
                                     const std::string& folder, FileWritten written) {
  RETURN_IF_ERROR(Check(plan));
  Key root(plan.seed);
  Site profile = MakeSite(root, site);
  SiteResult result;
  result.name = std::string(site);
  result.patients = plan.patients;
  Output output(result, written);
  std::vector<Patient> patients;
  for (int number = 1; number <= plan.patients; ++number) {
    patients.push_back(MakePatient(root, profile, number));
    const Patient& patient = patients.back();
    Anatomy anatomy(patient, profile);
    std::set<std::string> studies;
    for (Modality modality : plan.modalities) {
      std::string series_folder = absl::StrCat(folder, "/", patient.id, "/", FolderName(modality));
      RETURN_IF_ERROR(base::MakeDirectories(absl::StrCat(series_folder, "/image")));
      RETURN_IF_ERROR(base::MakeDirectories(absl::StrCat(series_folder, "/mask")));
      Series series = MakeSeries(patient, profile, modality);
      studies.insert(series.study_uid);
      std::vector<std::string> images = ImageFiles(patient, profile, anatomy, series);
      for (size_t i = 0; i < images.size(); ++i) {
        RETURN_IF_ERROR(
            output.Write(absl::StrFormat("%s/image/%06d.dcm", series_folder, i), images[i]));
      }
      RETURN_IF_ERROR(output.Write(absl::StrCat(series_folder, "/mask/RS.dcm"),
                                   StructureSetFile(patient, profile, anatomy, series)));
    }
    result.studies += studies.size();
  }
  RETURN_IF_ERROR(output.Write(absl::StrCat(folder, "/clinical.csv"), ClinicalTable(patients)));
  return result;
}

std::string Describe(const Plan& plan, const std::vector<SiteResult>& results) {
  nlohmann::json sites = nlohmann::json::array();
  for (const SiteResult& result : results) {
    Site site = MakeSite(Key(plan.seed), result.name);
    nlohmann::json scanners;
    for (Modality modality : plan.modalities) {
      scanners[std::string(ModalityName(modality))] = DescribeScanner(site.ScannerFor(modality));
    }
    sites.push_back({{"name", result.name},
                     {"patients", result.patients},
                     {"studies", result.studies},
                     {"files", result.files},
                     {"bytes", result.bytes},
                     {"tumourScale", site.tumour_scale},
                     {"scanners", scanners}});
  }
  return nlohmann::json{{"format", "oncomesh-phantom/2"}, {"seed", plan.seed}, {"sites", sites}}
             .dump(2) +
         "\n";
}

}  // namespace oncomesh::phantom
