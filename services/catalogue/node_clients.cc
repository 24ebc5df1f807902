// SPDX-License-Identifier: Apache-2.0
#include "services/catalogue/node_clients.h"

#include <grpcpp/grpcpp.h>

#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "libs/base/error.h"
#include "libs/base/status_macros.h"
#include "libs/permit/permit.h"
#include "libs/rpc/channel.h"
#include "libs/rpc/identity.h"
#include "libs/rpc/status.h"
#include "oncomesh/catalogue/v1/catalogue.grpc.pb.h"
#include "oncomesh/deidentification/v1/deidentification.grpc.pb.h"

namespace oncomesh::catalogue {
namespace {

using oncomesh::config::v1::ServiceConfig;

class DeidentificationFeed final : public ReleasedFeed {
 public:
  explicit DeidentificationFeed(const config::v1::CatalogueConfig& config)
      : stub_(deidentification::v1::DeidentificationService::NewStub(
            rpc::Connect({.target = config.deidentification_address(),
                          .identity_dir = config.service().identity_dir(),
                          .trust_domain = config.service().trust_domain(),
                          .peer = rpc::ServicePath(config.service().site(), "deidentification"),
                          .node = ""}))) {}

  absl::StatusOr<std::vector<Released>> List(int64_t after, int limit) override {
    grpc::ClientContext context;
    rpc::SetDeadline(context, absl::Seconds(20));
    deidentification::v1::ListReleasedRequest request;
    request.set_after(after);
    request.set_page_size(limit);
    deidentification::v1::ListReleasedResponse response;
    absl::Status status = rpc::FromGrpc(stub_->ListReleased(&context, request, &response));
    if (!status.ok()) {
      return base::Error(absl::StatusCode::kUnavailable, "RELEASED_FEED",
                         absl::StrCat("the de-identification service does not list what it "
                                      "released (",
                                      base::ReasonOf(status), ")"));
    }
    std::vector<Released> out;
    for (const auto& object : response.objects()) {
      Released& event = out.emplace_back();
      event.sequence = object.sequence();
      event.sha256 = object.sha256();
      event.kind = object.kind() == deidentification::v1::OBJECT_KIND_CLINICAL_TABLE
                       ? Released::Kind::kClinicalTable
                       : Released::Kind::kObject;
    }
    return out;
  }

 private:
  std::unique_ptr<deidentification::v1::DeidentificationService::Stub> stub_;
};

class SitePolicy final : public PolicySource {
 public:
  explicit SitePolicy(site::SiteAccess& site) : site_(site) {}

  absl::StatusOr<CountPolicy> Get() override {
    absl::StatusOr<access::v1::NodePolicy> policy = site_.Policy();
    if (!policy.ok()) return policy.status();
    CountPolicy out;
    // Unset numbers are the defaults of policy.proto, which are those of DisclosureRules.
    if (policy->min_cell() > 0) out.rules.min_cell = policy->min_cell();
    if (policy->rounding() > 0) out.rules.rounding = policy->rounding();
    out.open_counts = !policy->has_open_counts() || policy->open_counts();
    return out;
  }

 private:
  site::SiteAccess& site_;
};

class SitePermits final : public CountPermits {
 public:
  SitePermits(site::SiteAccess& site, const base::Clock& clock) : site_(site), clock_(clock) {}

  absl::StatusOr<std::vector<std::string>> Datasets(absl::string_view permit) override {
    ASSIGN_OR_RETURN(permit::TrustState trust, site_.Trust());
    permit::Use use{
        .person = "", .operation = "count", .datasets = {}, .node = "", .now = clock_.Now()};
    ASSIGN_OR_RETURN(permit::Permit checked, permit::Check(permit, trust, use));
    return checked.datasets;
  }

 private:
  site::SiteAccess& site_;
  const base::Clock& clock_;
};

class HubPublisher final : public RecordPublisher {
 public:
  explicit HubPublisher(const ServiceConfig& config)
      : stub_(v1::CatalogueService::NewStub(
            rpc::Connect({.target = config.relay_address(),
                          .identity_dir = config.identity_dir(),
                          .trust_domain = config.trust_domain(),
                          .peer = rpc::ServicePath(config.site(), "relay"),
                          .node = ""}))) {}

  absl::Status Publish(const v1::DatasetRecord& record) override {
    grpc::ClientContext context;
    rpc::SetDeadline(context, absl::Seconds(20));
    v1::PublishRecordRequest request;
    *request.mutable_record() = record;
    v1::PublishRecordResponse response;
    return Told(rpc::FromGrpc(stub_->PublishRecord(&context, request, &response)));
  }

  absl::Status Withdraw(const std::string& name) override {
    grpc::ClientContext context;
    rpc::SetDeadline(context, absl::Seconds(20));
    v1::WithdrawRecordRequest request;
    request.set_name(name);
    v1::WithdrawRecordResponse response;
    return Told(rpc::FromGrpc(stub_->WithdrawRecord(&context, request, &response)));
  }

 private:
  static absl::Status Told(const absl::Status& status) {
    if (!absl::IsUnavailable(status) && !absl::IsDeadlineExceeded(status)) return status;
    return base::Error(absl::StatusCode::kUnavailable, "HUB_UNREACHABLE",
                       "the hub's catalogue cannot be reached now; repeat the command later");
  }

  std::unique_ptr<v1::CatalogueService::Stub> stub_;
};

}  // namespace

std::unique_ptr<ReleasedFeed> MakeReleasedFeed(const config::v1::CatalogueConfig& config) {
  return std::make_unique<DeidentificationFeed>(config);
}

std::unique_ptr<PolicySource> MakePolicySource(site::SiteAccess& site) {
  return std::make_unique<SitePolicy>(site);
}

std::unique_ptr<CountPermits> MakeCountPermits(site::SiteAccess& site, const base::Clock& clock) {
  return std::make_unique<SitePermits>(site, clock);
}

std::unique_ptr<RecordPublisher> MakeRecordPublisher(const ServiceConfig& config) {
  return std::make_unique<HubPublisher>(config);
}

}  // namespace oncomesh::catalogue
