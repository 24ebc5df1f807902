// SPDX-License-Identifier: Apache-2.0
#include "services/catalogue/node_catalogue_service.h"

#include "libs/base/status_macros.h"

namespace oncomesh::catalogue {
namespace {

using grpc::ServerContext;
using grpc::Status;
using rpc::Caller;

}  // namespace

Status NodeCatalogueServiceImpl::CountAtNode(ServerContext* c, const v1::CountAtNodeRequest* q,
                                             v1::CountAtNodeResponse* r) {
  return guard_.Run(c, "/oncomesh.catalogue.v1.NodeCatalogueService/CountAtNode", *q,
                    [&](const Caller& who) -> absl::Status {
                      ASSIGN_OR_RETURN(*r->mutable_count(), count_.Count(*q, who.permit));
                      return absl::OkStatus();
                    });
}

Status NodeCatalogueServiceImpl::CreateDataset(ServerContext* c, const v1::CreateDatasetRequest* q,
                                               v1::CreateDatasetResponse* r) {
  return guard_.Run(c, "/oncomesh.catalogue.v1.NodeCatalogueService/CreateDataset", *q,
                    [&](const Caller& who) -> absl::Status {
                      ASSIGN_OR_RETURN(*r->mutable_dataset(), datasets_.Create(*q));
                      who.About(r->dataset().name());
                      return absl::OkStatus();
                    });
}

Status NodeCatalogueServiceImpl::PublishDataset(ServerContext* c,
                                                const v1::PublishDatasetRequest* q,
                                                v1::PublishDatasetResponse* r) {
  return guard_.Run(c, "/oncomesh.catalogue.v1.NodeCatalogueService/PublishDataset", *q,
                    [&](const Caller&) -> absl::Status {
                      ASSIGN_OR_RETURN(*r->mutable_dataset(), datasets_.Publish(q->name()));
                      return absl::OkStatus();
                    });
}

Status NodeCatalogueServiceImpl::WithdrawDataset(ServerContext* c,
                                                 const v1::WithdrawDatasetRequest* q,
                                                 v1::WithdrawDatasetResponse* r) {
  return guard_.Run(c, "/oncomesh.catalogue.v1.NodeCatalogueService/WithdrawDataset", *q,
                    [&](const Caller&) -> absl::Status {
                      ASSIGN_OR_RETURN(*r->mutable_dataset(), datasets_.Withdraw(q->name()));
                      return absl::OkStatus();
                    });
}

Status NodeCatalogueServiceImpl::ListNodeDatasets(ServerContext* c,
                                                  const v1::ListNodeDatasetsRequest* q,
                                                  v1::ListNodeDatasetsResponse* r) {
  return guard_.Run(c, "/oncomesh.catalogue.v1.NodeCatalogueService/ListNodeDatasets", *q,
                    [&](const Caller&) -> absl::Status {
                      ASSIGN_OR_RETURN(*r, datasets_.List(*q));
                      return absl::OkStatus();
                    });
}

Status NodeCatalogueServiceImpl::GetDatasetManifest(
    ServerContext* c, const v1::GetDatasetManifestRequest* q,
    grpc::ServerWriter<v1::GetDatasetManifestResponse>* writer) {
  return guard_.Run(
      c, "/oncomesh.catalogue.v1.NodeCatalogueService/GetDatasetManifest", *q, [&](const Caller&) {
        return datasets_.Manifest(q->name(), [&](const v1::GetDatasetManifestResponse& part) {
          return writer->Write(part);
        });
      });
}

Status NodeCatalogueServiceImpl::SyncIndex(ServerContext* c, const v1::SyncIndexRequest* q,
                                           v1::SyncIndexResponse* r) {
  return guard_.Run(c, "/oncomesh.catalogue.v1.NodeCatalogueService/SyncIndex", *q,
                    [&](const Caller&) -> absl::Status {
                      ASSIGN_OR_RETURN(*r->mutable_status(), indexer_.Sync());
                      return absl::OkStatus();
                    });
}

Status NodeCatalogueServiceImpl::GetIndexStatus(ServerContext* c,
                                                const v1::GetIndexStatusRequest* q,
                                                v1::GetIndexStatusResponse* r) {
  return guard_.Run(c, "/oncomesh.catalogue.v1.NodeCatalogueService/GetIndexStatus", *q,
                    [&](const Caller&) -> absl::Status {
                      ASSIGN_OR_RETURN(*r->mutable_status(), indexer_.Status());
                      return absl::OkStatus();
                    });
}

}  // namespace oncomesh::catalogue
