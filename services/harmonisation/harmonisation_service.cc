// SPDX-License-Identifier: Apache-2.0
#include "services/harmonisation/harmonisation_service.h"

#include "libs/base/status_macros.h"

namespace oncomesh::harmonisation {

grpc::Status HarmonisationServiceImpl::PrepareCase(grpc::ServerContext* c,
                                                   const v1::PrepareCaseRequest* q,
                                                   v1::PrepareCaseResponse* r) {
  return guard_.Run(c, "/oncomesh.harmonisation.v1.HarmonisationService/PrepareCase", *q,
                    [&](const rpc::Caller&) -> absl::Status {
                      ASSIGN_OR_RETURN(*r, desk_.Prepare(*q, [c] { return !c->IsCancelled(); }));
                      return absl::OkStatus();
                    });
}

grpc::Status HarmonisationServiceImpl::CheckSeries(grpc::ServerContext* c,
                                                   const v1::CheckSeriesRequest* q,
                                                   v1::CheckSeriesResponse* r) {
  return guard_.Run(c, "/oncomesh.harmonisation.v1.HarmonisationService/CheckSeries", *q,
                    [&](const rpc::Caller&) -> absl::Status {
                      ASSIGN_OR_RETURN(*r, desk_.Check(*q, [c] { return !c->IsCancelled(); }));
                      return absl::OkStatus();
                    });
}

}  // namespace oncomesh::harmonisation
