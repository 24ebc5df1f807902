// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "libs/rpc/call_guard.h"
#include "oncomesh/catalogue/v1/node_catalogue.grpc.pb.h"
#include "services/catalogue/datasets.h"
#include "services/catalogue/indexer.h"
#include "services/catalogue/node_count.h"

namespace oncomesh::catalogue {

// The node's RPCs, each through the guard to its core.
class NodeCatalogueServiceImpl final : public v1::NodeCatalogueService::Service {
 public:
  NodeCatalogueServiceImpl(rpc::CallGuard& guard, NodeCount& count, Datasets& datasets,
                           Indexer& indexer)
      : guard_(guard), count_(count), datasets_(datasets), indexer_(indexer) {}

  grpc::Status CountAtNode(grpc::ServerContext* c, const v1::CountAtNodeRequest* q,
                           v1::CountAtNodeResponse* r) override;
  grpc::Status CreateDataset(grpc::ServerContext* c, const v1::CreateDatasetRequest* q,
                             v1::CreateDatasetResponse* r) override;
  grpc::Status PublishDataset(grpc::ServerContext* c, const v1::PublishDatasetRequest* q,
                              v1::PublishDatasetResponse* r) override;
  grpc::Status WithdrawDataset(grpc::ServerContext* c, const v1::WithdrawDatasetRequest* q,
                               v1::WithdrawDatasetResponse* r) override;
  grpc::Status ListNodeDatasets(grpc::ServerContext* c, const v1::ListNodeDatasetsRequest* q,
                                v1::ListNodeDatasetsResponse* r) override;
  grpc::Status GetDatasetManifest(
      grpc::ServerContext* c, const v1::GetDatasetManifestRequest* q,
      grpc::ServerWriter<v1::GetDatasetManifestResponse>* writer) override;
  grpc::Status SyncIndex(grpc::ServerContext* c, const v1::SyncIndexRequest* q,
                         v1::SyncIndexResponse* r) override;
  grpc::Status GetIndexStatus(grpc::ServerContext* c, const v1::GetIndexStatusRequest* q,
                              v1::GetIndexStatusResponse* r) override;

 private:
  rpc::CallGuard& guard_;
  NodeCount& count_;
  Datasets& datasets_;
  Indexer& indexer_;
};

}  // namespace oncomesh::catalogue
