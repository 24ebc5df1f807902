// SPDX-License-Identifier: Apache-2.0
#include "services/training/site_case_provider.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>
#include <system_error>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "libs/base/error.h"
#include "libs/base/files.h"
#include "libs/base/log.h"
#include "libs/base/status_macros.h"
#include "libs/crypto/digest.h"

namespace oncomesh::training {
namespace {

namespace fs = std::filesystem;

constexpr absl::Duration kTryAgainAfter = absl::Hours(24);

// A fault of the case itself, by what harmonisation calls it; preparing it again at once would not
// mend it.
bool IsFaultOfCase(const std::string& reason) {
  static constexpr absl::string_view kKinds[] = {"CASE_", "GRID_", "IMAGE_",  "MASK_", "PIXELS_",
                                                 "ROI_",  "SUV_",  "SERIES_", "NIFTI_"};
  static constexpr absl::string_view kReasons[] = {
      "DATASET_MALFORMED",     "DATASET_TOO_DEEP",
      "DICOM_UNREADABLE",      "MODALITY_LUT",
      "NO_CONTRAST",           "RESCALE_INVALID",
      "VALUE_TOO_LONG",        "SEGMENTATION_INVALID",
      "STRUCTURE_SET_INVALID", "TRANSFER_SYNTAX_UNSUPPORTED"};
  return std::any_of(std::begin(kKinds), std::end(kKinds),
                     [&](absl::string_view kind) { return absl::StartsWith(reason, kind); }) ||
         std::find(std::begin(kReasons), std::end(kReasons), reason) != std::end(kReasons);
}

class SiteCaseProvider final : public CaseProvider {
 public:
  SiteCaseProvider(std::unique_ptr<SiteServices> services,
                   std::unique_ptr<objects::ObjectStore> prepared, std::string cases_dir,
                   base::Clock& clock)
      : services_(std::move(services)),
        prepared_(std::move(prepared)),
        cases_dir_(std::move(cases_dir)),
        clock_(clock) {}

  absl::StatusOr<std::vector<PreparedCase>> Prepare(const std::vector<std::string>& datasets,
                                                    const v1::CaseInputs& inputs,
                                                    absl::FunctionRef<bool()> go_on) override {
    std::vector<DatasetObject> objects;
    std::string key = inputs.SerializeAsString();
    for (const std::string& dataset : datasets) {
      // Asked in every round: a dataset that was withdrawn is not used any more.
      ASSIGN_OR_RETURN(std::string digest, services_->ListObjects(dataset, objects));
      absl::StrAppend(&key, "\n", dataset, " ", digest);
    }
    const std::string folder = absl::StrCat(cases_dir_, "/", crypto::Sha256Hex(key).substr(0, 32));
    RETURN_IF_ERROR(base::MakeDirectories(folder, 0700));
    if (utimensat(AT_FDCWD, folder.c_str(), nullptr, 0) != 0) {
      return base::ErrnoStatus(errno, "use the prepared cases");
    }
    std::vector<std::string> modalities(inputs.modalities().begin(), inputs.modalities().end());
    std::vector<PreparedCase> out;
    std::map<std::string, int> left_out;
    for (const CaseObjects& wanted : GroupCases(objects, modalities)) {
      if (!go_on()) return base::Error(absl::StatusCode::kAborted, "STOPPED", "no longer wanted");
      if (!IsCaseCode(wanted.code)) {
        ++left_out["PATIENT_CODE_INVALID"];
        continue;
      }
      PreparedCase entry{wanted.code, wanted.patient, absl::StrCat(folder, "/", wanted.code)};
      ASSIGN_OR_RETURN(std::string fault, FaultOf(wanted, inputs, entry.folder));
      if (fault.empty()) {
        out.push_back(std::move(entry));
      } else {
        ++left_out[fault];
      }
    }
    for (const auto& [reason, count] : left_out) {
      base::Log(base::Level::kWarning, "cases.left_out", {{"reason", reason}, {"cases", count}});
    }
    if (out.empty()) {
      return base::Error(absl::StatusCode::kFailedPrecondition, "CASES_NOT_PREPARED",
                         "none of the datasets' studies could be prepared as the plan asks; the "
                         "log of this service counts the reasons");
    }
    return out;
  }

  void Stop() override { services_->Stop(); }

 private:
  struct Fault {
    std::string reason;
    absl::Time found;
  };

  // Sees to it that the case is at `folder`. Empty when it is, else the reason why it cannot be.
  absl::StatusOr<std::string> FaultOf(const CaseObjects& wanted, const v1::CaseInputs& inputs,
                                      const std::string& folder) {
    std::error_code ignored;
    if (fs::exists(folder, ignored)) return std::string();
    auto known = faults_.find(folder);
    if (known != faults_.end() && clock_.Now() - known->second.found < kTryAgainAfter) {
      return known->second.reason;
    }
    absl::Status status = PrepareOne(wanted, inputs, folder);
    if (status.ok()) {
      faults_.erase(folder);
      return std::string();
    }
    std::string reason = base::ReasonOf(status);
    if (!IsFaultOfCase(reason)) return status;
    faults_[folder] = {reason, clock_.Now()};
    return reason;
  }

  absl::Status PrepareOne(const CaseObjects& wanted, const v1::CaseInputs& inputs,
                          const std::string& folder) {
    harmonisation::v1::PrepareCaseRequest request;
    for (const std::string& object : wanted.objects) request.add_objects(object);
    for (const std::string& modality : inputs.modalities()) {
      request.add_modalities()->set_modality(modality);
    }
    for (double length : inputs.spacing()) request.add_spacing_mm(length);
    request.set_region(inputs.roi());
    ASSIGN_OR_RETURN(harmonisation::v1::PrepareCaseResponse response,
                     services_->PrepareCase(request));

    // Built beside and renamed: a folder that is there is whole.
    const std::string building = folder + ".building";
    std::error_code error;
    fs::remove_all(building, error);
    RETURN_IF_ERROR(base::MakeDirectories(building, 0700));
    for (const auto& image : response.images()) {
      RETURN_IF_ERROR(
          Link(image.sha256(), absl::StrCat(building, "/", image.modality(), ".nii.gz")));
    }
    if (response.has_mask()) {
      RETURN_IF_ERROR(Link(response.mask().sha256(), building + "/mask.nii.gz"));
    }
    nlohmann::json description = {{"patient", wanted.patient}};
    RETURN_IF_ERROR(
        base::WriteFileAtomically(building + "/case.json", description.dump() + "\n", 0600));
    fs::rename(building, folder, error);
    if (error) return base::ErrnoStatus(error.value(), "keep a prepared case");
    return absl::OkStatus();
  }

  absl::Status Link(const std::string& sha256, const std::string& to) {
    ASSIGN_OR_RETURN(std::string from, prepared_->LocalPath(sha256));
    if (link(from.c_str(), to.c_str()) == 0) return absl::OkStatus();
    std::error_code error;  // another file system
    fs::copy_file(from, to, error);
    if (error) return base::ErrnoStatus(error.value(), "keep a prepared image");
    return absl::OkStatus();
  }

  const std::unique_ptr<SiteServices> services_;
  const std::unique_ptr<objects::ObjectStore> prepared_;
  const std::string cases_dir_;
  base::Clock& clock_;
  std::map<std::string, Fault> faults_;  // by the folder that the case would have
};

}  // namespace

std::unique_ptr<CaseProvider> MakeSiteCaseProvider(std::unique_ptr<SiteServices> services,
                                                   std::unique_ptr<objects::ObjectStore> prepared,
                                                   const std::string& cases_dir,
                                                   base::Clock& clock) {
  return std::make_unique<SiteCaseProvider>(std::move(services), std::move(prepared), cases_dir,
                                            clock);
}

}  // namespace oncomesh::training
