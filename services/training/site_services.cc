// SPDX-License-Identifier: Apache-2.0
#include "services/training/site_services.h"

#include <grpcpp/grpcpp.h>

#include <utility>

#include "libs/base/error.h"
#include "libs/base/mutex.h"
#include "libs/base/status_macros.h"
#include "libs/rpc/channel.h"
#include "libs/rpc/identity.h"
#include "libs/rpc/status.h"
#include "oncomesh/catalogue/v1/node_catalogue.grpc.pb.h"
#include "oncomesh/harmonisation/v1/harmonisation.grpc.pb.h"

namespace oncomesh::training {
namespace {

using catalogue::v1::NodeCatalogueService;
using harmonisation::v1::HarmonisationService;

class GrpcSiteServices final : public SiteServices {
 public:
  GrpcSiteServices(std::shared_ptr<grpc::Channel> catalogue,
                   std::shared_ptr<grpc::Channel> harmonisation)
      : catalogue_(NodeCatalogueService::NewStub(std::move(catalogue))),
        harmonisation_(HarmonisationService::NewStub(std::move(harmonisation))) {}

  absl::StatusOr<std::string> ListObjects(const std::string& dataset,
                                          std::vector<DatasetObject>& objects) override {
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

  absl::StatusOr<harmonisation::v1::PrepareCaseResponse> PrepareCase(
      const harmonisation::v1::PrepareCaseRequest& request) override {
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
    return response;
  }

  void Stop() override {
    base::MutexLock lock(mutex_);
    stopped_ = true;
    if (preparing_ != nullptr) preparing_->TryCancel();
  }

 private:
  std::unique_ptr<NodeCatalogueService::Stub> catalogue_;
  std::unique_ptr<HarmonisationService::Stub> harmonisation_;
  base::Mutex mutex_;
  grpc::ClientContext* preparing_ ABSL_GUARDED_BY(mutex_) = nullptr;
  bool stopped_ ABSL_GUARDED_BY(mutex_) = false;
};

}  // namespace

std::unique_ptr<SiteServices> ConnectSiteServices(
    const ::oncomesh::config::v1::ServiceConfig& service, const std::string& catalogue_address,
    const std::string& harmonisation_address) {
  const auto channel = [&](const std::string& address, absl::string_view name) {
    return rpc::Connect({.target = address,
                         .identity_dir = service.identity_dir(),
                         .trust_domain = service.trust_domain(),
                         .peer = rpc::ServicePath(service.site(), name),
                         .node = ""});
  };
  return std::make_unique<GrpcSiteServices>(channel(catalogue_address, "catalogue"),
                                            channel(harmonisation_address, "harmonisation"));
}

}  // namespace oncomesh::training
