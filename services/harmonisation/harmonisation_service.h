// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "libs/rpc/call_guard.h"
#include "oncomesh/harmonisation/v1/harmonisation.grpc.pb.h"
#include "services/harmonisation/case_desk.h"

namespace oncomesh::harmonisation {

class HarmonisationServiceImpl final : public v1::HarmonisationService::Service {
 public:
  HarmonisationServiceImpl(rpc::CallGuard& guard, CaseDesk& desk) : guard_(guard), desk_(desk) {}
  grpc::Status PrepareCase(grpc::ServerContext*, const v1::PrepareCaseRequest*,
                           v1::PrepareCaseResponse*) override;
  grpc::Status CheckSeries(grpc::ServerContext*, const v1::CheckSeriesRequest*,
                           v1::CheckSeriesResponse*) override;

 private:
  rpc::CallGuard& guard_;
  CaseDesk& desk_;
};

}  // namespace oncomesh::harmonisation
