// SPDX-License-Identifier: Apache-2.0
#include "services/training/site_case_provider.h"

#include <grpcpp/grpcpp.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>
#include <system_error>
#include <utility>

#include "absl/strings/str_cat.h"
#include "libs/base/error.h"
#include "libs/base/files.h"
#include "libs/base/log.h"
#include "libs/base/mutex.h"
#include "libs/base/status_macros.h"
#include "libs/crypto/digest.h"
#include "libs/objects/object_store.h"
#include "libs/rpc/channel.h"
#include "libs/rpc/identity.h"
#include "libs/rpc/status.h"
#include "oncomesh/catalogue/v1/node_catalogue.grpc.pb.h"
#include "oncomesh/harmonisation/v1/harmonisation.grpc.pb.h"

namespace oncomesh::training {
namespace {

namespace fs = std::filesystem;
using catalogue::v1::NodeCatalogueService;
using harmonisation::v1::HarmonisationService;

// A fault of the case itself, which preparing again would not mend.
bool IsFaultOfCase(const absl::Status& status) {
  switch (status.code()) {
    case absl::StatusCode::kInvalidArgument:
    case absl::StatusCode::kFailedPrecondition:
    case absl::StatusCode::kNotFound:
    case absl::StatusCode::kUnimplemented:
    case absl::StatusCode::kDataLoss:
      return true;
    default:
      return false;
  }
}

class SiteCaseProvider final : public CaseProvider {
 public:
  SiteCaseProvider(SiteCaseOptions options, std::unique_ptr<objects::ObjectStore> prepared)
      : options_(std::move(options)),
        prepared_(std::move(prepared)),
        catalogue_(NodeCatalogueService::NewStub(Channel(options_.catalogue_address, "catalogue"))),
        harmonisation_(HarmonisationService::NewStub(
            Channel(options_.harmonisation_address, "harmonisation"))) {}

  absl::StatusOr<std::vector<PreparedCase>> Prepare(const std::vector<std::string>& datasets,
                                                    const v1::CaseInputs& inputs,
                                                    absl::FunctionRef<bool()> go_on) override {
    std::vector<DatasetObject> objects;
    std::string key = inputs.SerializeAsString();
    for (const std::string& dataset : datasets) {
      // Asked in every round: a dataset that was withdrawn is not used any more.
      ASSIGN_OR_RETURN(std::string digest, AddObjects(dataset, objects));
      absl::StrAppend(&key, "\n", dataset, " ", digest);
    }
    const std::string folder =
        absl::StrCat(options_.cases_dir, "/", crypto::Sha256Hex(key).substr(0, 32));
    // Also for the note that the very first case cannot be prepared.
    RETURN_IF_ERROR(base::MakeDirectories(folder, 0700));
    std::vector<std::string> modalities(inputs.modalities().begin(), inputs.modalities().end());
    std::vector<PreparedCase> out;
    std::map<std::string, int> faults;
    for (const CaseObjects& wanted : GroupCases(objects, modalities)) {
      if (!go_on()) return base::Error(absl::StatusCode::kAborted, "STOPPED", "no longer wanted");
      PreparedCase entry{wanted.code, wanted.patient, absl::StrCat(folder, "/", wanted.code)};
      absl::StatusOr<std::string> kept = base::ReadFile(entry.folder + ".fault", 256);
      if (kept.ok()) {
        ++faults[*kept];
        continue;
      }
      std::error_code ignored;
      if (!fs::exists(entry.folder, ignored)) {
        absl::Status status = PrepareOne(wanted, inputs, entry.folder);
        if (!status.ok() && !IsFaultOfCase(status)) return status;
        if (!status.ok()) {
          ++faults[base::ReasonOf(status)];
          RETURN_IF_ERROR(
              base::WriteFileAtomically(entry.folder + ".fault", base::ReasonOf(status), 0600));
          continue;
        }
      }
      out.push_back(std::move(entry));
    }
    for (const auto& [reason, count] : faults) {
      base::Log(base::Level::kWarning, "cases.left_out", {{"reason", reason}, {"cases", count}});
    }
    if (out.empty()) {
      return base::Error(absl::StatusCode::kFailedPrecondition, "CASES_NOT_PREPARED",
                         "none of the datasets' studies could be prepared as the plan asks; the "
                         "log of this service counts the reasons");
    }
    return out;
  }

  void Stop() override {
    base::MutexLock lock(mutex_);
    stopped_ = true;
    if (preparing_ != nullptr) preparing_->TryCancel();
  }

 private:
  std::shared_ptr<grpc::Channel> Channel(const std::string& address, absl::string_view service) {
    return rpc::Connect({.target = address,
                         .identity_dir = options_.service.identity_dir(),
                         .trust_domain = options_.service.trust_domain(),
                         .peer = rpc::ServicePath(options_.service.site(), service),
                         .node = ""});
  }

  // Adds the dataset's objects and returns the digest of its list.
  absl::StatusOr<std::string> AddObjects(const std::string& dataset,
                                         std::vector<DatasetObject>& objects) {
    grpc::ClientContext context;
    rpc::SetDeadline(context, absl::Minutes(2));
    catalogue::v1::GetDatasetManifestRequest request;
    request.set_name(dataset);
    auto reader = catalogue_->GetDatasetManifest(&context, request);
    catalogue::v1::GetDatasetManifestResponse part;
    std::string digest;
    while (reader->Read(&part)) {
      for (const auto& item : part.items().items()) {
        objects.push_back({item.patient_code(), item.study_uid(), item.modality(), item.sha256()});
      }
      if (part.has_finish()) digest = part.finish().digest();
    }
    RETURN_IF_ERROR(rpc::FromGrpc(reader->Finish()));
    if (digest.empty()) {
      return base::Error(absl::StatusCode::kUnavailable, "DATASET_LIST_CUT",
                         "the list of a dataset's objects came without its end");
    }
    return digest;
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
    grpc::ClientContext context;
    rpc::SetDeadline(context, absl::Minutes(30));
    harmonisation::v1::PrepareCaseResponse response;
    {
      base::MutexLock lock(mutex_);
      if (stopped_) return absl::CancelledError("the service is stopping");
      preparing_ = &context;
    }
    absl::Status prepared =
        rpc::FromGrpc(harmonisation_->PrepareCase(&context, request, &response));
    {
      base::MutexLock lock(mutex_);
      preparing_ = nullptr;
    }
    RETURN_IF_ERROR(prepared);

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

  base::Mutex mutex_;
  grpc::ClientContext* preparing_ ABSL_GUARDED_BY(mutex_) = nullptr;
  bool stopped_ ABSL_GUARDED_BY(mutex_) = false;
  const SiteCaseOptions options_;
  std::unique_ptr<objects::ObjectStore> prepared_;
  std::unique_ptr<NodeCatalogueService::Stub> catalogue_;
  std::unique_ptr<HarmonisationService::Stub> harmonisation_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<CaseProvider>> MakeSiteCaseProvider(const SiteCaseOptions& options) {
  RETURN_IF_ERROR(base::MakeDirectories(options.cases_dir, 0700));
  ASSIGN_OR_RETURN(auto prepared, objects::OpenFolder(options.prepared_dir));
  return std::unique_ptr<CaseProvider>(
      std::make_unique<SiteCaseProvider>(options, std::move(prepared)));
}

}  // namespace oncomesh::training
