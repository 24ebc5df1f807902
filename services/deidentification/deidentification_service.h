// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <grpcpp/grpcpp.h>

#include "libs/rpc/call_guard.h"
#include "oncomesh/deidentification/v1/deidentification.grpc.pb.h"
#include "services/deidentification/intake.h"

namespace oncomesh::deidentification {

// The RPCs over the cores; every call goes through the guard. Any thread.
class DeidentificationServiceImpl final : public v1::DeidentificationService::Service {
 public:
  DeidentificationServiceImpl(rpc::CallGuard& guard, Intake& intake, ReleaseStore& store,
                              const Deidentifier& deidentifier)
      : guard_(guard), intake_(intake), store_(store), deidentifier_(deidentifier) {}

  using IngestStream = grpc::ServerReaderWriter<v1::IngestResponse, v1::IngestRequest>;
  using DeidentifyStream = grpc::ServerReaderWriter<v1::DeidentifyResponse, v1::DeidentifyRequest>;

  grpc::Status Ingest(grpc::ServerContext* context, IngestStream* stream) override;
  grpc::Status Deidentify(grpc::ServerContext* context, DeidentifyStream* stream) override;
  grpc::Status ListReleased(grpc::ServerContext* context, const v1::ListReleasedRequest* request,
                            v1::ListReleasedResponse* response) override;
  grpc::Status ListQuarantined(grpc::ServerContext* context,
                               const v1::ListQuarantinedRequest* request,
                               v1::ListQuarantinedResponse* response) override;
  grpc::Status ReleaseQuarantined(grpc::ServerContext* context,
                                  const v1::ReleaseQuarantinedRequest* request,
                                  v1::ReleaseQuarantinedResponse* response) override;
  grpc::Status DeleteQuarantined(grpc::ServerContext* context,
                                 const v1::DeleteQuarantinedRequest* request,
                                 v1::DeleteQuarantinedResponse* response) override;

 private:
  rpc::CallGuard& guard_;
  Intake& intake_;
  ReleaseStore& store_;
  const Deidentifier& deidentifier_;
};

}  // namespace oncomesh::deidentification
