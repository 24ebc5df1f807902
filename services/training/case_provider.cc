// SPDX-License-Identifier: Apache-2.0
#include "services/training/case_provider.h"

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>
#include <set>
#include <system_error>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "libs/base/error.h"
#include "libs/base/files.h"
#include "libs/base/status_macros.h"
#include "libs/crypto/digest.h"
#include "libs/crypto/jws.h"

namespace oncomesh::training {
namespace {

absl::StatusOr<std::string> PatientOf(const std::string& folder) {
  absl::StatusOr<std::string> text = base::ReadFile(folder + "/case.json", 1 << 20);
  if (text.ok()) {
    absl::StatusOr<nlohmann::json> json = crypto::ParseStrictJson(*text);
    if (json.ok() && json->is_object()) {
      auto patient = json->find("patient");
      if (patient != json->end() && patient->is_string() &&
          IsCaseCode(patient->get<std::string>())) {
        return patient->get<std::string>();
      }
    }
  }
  return base::Error(absl::StatusCode::kFailedPrecondition, "CASES_NOT_PREPARED",
                     "a case has no case.json that names its patient; prepare it again");
}

}  // namespace

bool IsCaseCode(absl::string_view code) {
  return !code.empty() && code.size() <= 64 &&
         code.find_first_not_of(
             "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-") ==
             absl::string_view::npos;
}

absl::StatusOr<std::vector<PreparedCase>> FolderCaseProvider::Prepare(
    const std::vector<std::string>& datasets, const v1::CaseInputs&,
    absl::FunctionRef<bool()> go_on) {
  std::map<std::string, PreparedCase> cases;
  for (const std::string& dataset : datasets) {
    if (!go_on()) return base::Error(absl::StatusCode::kAborted, "STOPPED", "no longer wanted");
    std::vector<std::string> parts = absl::StrSplit(dataset, '/');  // checked with the plan
    const std::string folder = absl::StrCat(root_, "/", parts.at(3), "/", parts.at(5));
    std::error_code error;
    std::filesystem::directory_iterator it(folder, error), end;
    if (error) {
      return base::Error(absl::StatusCode::kNotFound, "DATASET_NOT_FOUND",
                         "there are no prepared cases of this dataset at the node");
    }
    for (; !error && it != end; it.increment(error)) {
      PreparedCase entry;
      entry.code = it->path().filename().string();
      entry.folder = it->path().string();
      if (!IsCaseCode(entry.code) || !it->is_directory()) continue;
      ASSIGN_OR_RETURN(entry.patient, PatientOf(entry.folder));
      cases.emplace(entry.code, std::move(entry));
    }
  }
  std::vector<PreparedCase> out;
  for (auto& [code, entry] : cases) out.push_back(std::move(entry));
  return out;
}

std::vector<CaseObjects> GroupCases(const std::vector<DatasetObject>& objects,
                                    const std::vector<std::string>& modalities) {
  struct Study {
    std::set<std::string> modalities;
    std::vector<std::string> images;
  };
  struct Patient {
    std::map<std::string, Study> studies;
    std::vector<std::string> contours;
  };
  std::map<std::string, Patient> patients;
  for (const DatasetObject& object : objects) {
    Patient& patient = patients[object.patient];
    if (object.modality == "RTSTRUCT" || object.modality == "SEG") {
      patient.contours.push_back(object.sha256);
    } else if (std::find(modalities.begin(), modalities.end(), object.modality) !=
               modalities.end()) {
      Study& study = patient.studies[object.study];
      study.modalities.insert(object.modality);
      study.images.push_back(object.sha256);
    }
  }
  std::map<std::string, CaseObjects> cases;
  for (auto& [code, patient] : patients) {
    auto add = [&, &name = code, &owner = patient](const std::string& study,
                                                   std::vector<std::string> images) {
      CaseObjects entry;
      entry.code = absl::StrCat(name, "-", crypto::Sha256Hex(study).substr(0, 12));
      entry.patient = name;
      images.insert(images.end(), owner.contours.begin(), owner.contours.end());
      std::sort(images.begin(), images.end());
      images.erase(std::unique(images.begin(), images.end()), images.end());
      entry.objects = std::move(images);
      cases.emplace(entry.code, std::move(entry));
    };
    bool whole = false;
    Study together;
    for (const auto& [uid, study] : patient.studies) {
      together.modalities.insert(study.modalities.begin(), study.modalities.end());
      together.images.insert(together.images.end(), study.images.begin(), study.images.end());
      if (study.modalities.size() != modalities.size()) continue;
      whole = true;
      add(uid, study.images);
    }
    if (!whole && !modalities.empty() && together.modalities.size() == modalities.size()) {
      add("", together.images);
    }
  }
  std::vector<CaseObjects> out;
  for (auto& [code, entry] : cases) out.push_back(std::move(entry));
  return out;
}

std::vector<PreparedCase> SplitCases(const std::vector<PreparedCase>& cases, double share,
                                     const std::string& salt, bool held_out) {
  std::map<std::string, std::string> by_digest;
  for (const PreparedCase& entry : cases) {
    by_digest.emplace(crypto::Sha256Bytes(absl::StrCat("oncomesh-split/1", salt, entry.patient)),
                      entry.patient);
  }
  if (share <= 0 || by_digest.empty()) return cases;
  const auto patients = static_cast<double>(by_digest.size());
  size_t count = static_cast<size_t>(std::max(1.0, std::floor(share * patients + 0.5)));
  count = std::min(count, by_digest.size() - 1);
  std::set<std::string> kept;
  for (const auto& [digest, patient] : by_digest) {
    if (kept.size() == count) break;
    kept.insert(patient);
  }
  std::vector<PreparedCase> out;
  for (const PreparedCase& entry : cases) {
    if ((kept.count(entry.patient) != 0) == held_out) out.push_back(entry);
  }
  return out;
}

int PatientsIn(const std::vector<PreparedCase>& cases) {
  std::set<std::string> patients;
  for (const PreparedCase& entry : cases) patients.insert(entry.patient);
  return static_cast<int>(patients.size());
}

}  // namespace oncomesh::training
