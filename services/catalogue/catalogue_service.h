// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "libs/rpc/call_guard.h"
#include "libs/terminology/registry.h"
#include "oncomesh/catalogue/v1/catalogue.grpc.pb.h"
#include "services/catalogue/federated_count.h"
#include "services/catalogue/records.h"

namespace oncomesh::catalogue {

// The hub's RPCs, each through the guard to its core.
class CatalogueServiceImpl final : public v1::CatalogueService::Service {
 public:
  // `permits` judges the permit that came with a count.
  CatalogueServiceImpl(rpc::CallGuard& guard, Records& records, FederatedCount& count,
                       const terminology::Registry& registry, rpc::PermitChecker& permits)
      : guard_(guard), records_(records), count_(count), registry_(registry), permits_(permits) {}

  grpc::Status SearchDatasets(grpc::ServerContext* c, const v1::SearchDatasetsRequest* q,
                              v1::SearchDatasetsResponse* r) override;
  grpc::Status GetDataset(grpc::ServerContext* c, const v1::GetDatasetRequest* q,
                          v1::GetDatasetResponse* r) override;
  grpc::Status Count(grpc::ServerContext* c, const v1::CountRequest* q,
                     v1::CountResponse* r) override;
  grpc::Status ListVariables(grpc::ServerContext* c, const v1::ListVariablesRequest* q,
                             v1::ListVariablesResponse* r) override;
  grpc::Status PublishRecord(grpc::ServerContext* c, const v1::PublishRecordRequest* q,
                             v1::PublishRecordResponse* r) override;
  grpc::Status WithdrawRecord(grpc::ServerContext* c, const v1::WithdrawRecordRequest* q,
                              v1::WithdrawRecordResponse* r) override;

 private:
  rpc::CallGuard& guard_;
  Records& records_;
  FederatedCount& count_;
  const terminology::Registry& registry_;
  rpc::PermitChecker& permits_;
};

// The registry as people see it.
v1::ListVariablesResponse Describe(const terminology::Registry& registry);

}  // namespace oncomesh::catalogue
