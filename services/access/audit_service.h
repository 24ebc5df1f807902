// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "libs/rpc/call_guard.h"
#include "oncomesh/audit/v1/audit.grpc.pb.h"
#include "services/access/audit_log.h"

namespace oncomesh::access {

// The gRPC side of the audit log: each RPC is one line through the call guard.
class AuditServiceImpl final : public audit::v1::AuditService::Service {
 public:
  AuditServiceImpl(rpc::CallGuard& guard, AuditLog& log) : guard_(guard), log_(log) {}

  grpc::Status Append(grpc::ServerContext*, const audit::v1::AppendRequest*,
                      audit::v1::AppendResponse*) override;
  grpc::Status List(grpc::ServerContext*, const audit::v1::ListRequest*,
                    audit::v1::ListResponse*) override;
  grpc::Status ListLeafHashes(grpc::ServerContext*, const audit::v1::ListLeafHashesRequest*,
                              audit::v1::ListLeafHashesResponse*) override;
  grpc::Status Prove(grpc::ServerContext*, const audit::v1::ProveRequest*,
                     audit::v1::ProveResponse*) override;
  grpc::Status GetCheckpoint(grpc::ServerContext*, const audit::v1::GetCheckpointRequest*,
                             audit::v1::GetCheckpointResponse*) override;
  grpc::Status Consistency(grpc::ServerContext*, const audit::v1::ConsistencyRequest*,
                           audit::v1::ConsistencyResponse*) override;

 private:
  rpc::CallGuard& guard_;
  AuditLog& log_;
};

}  // namespace oncomesh::access
