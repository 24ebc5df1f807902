// SPDX-License-Identifier: Apache-2.0
#include "services/access/audit_service.h"

#include <utility>

namespace oncomesh::access {
namespace {

template <typename T>
absl::Status Into(absl::StatusOr<T> value, T* out) {
  if (!value.ok()) return value.status();
  *out = *std::move(value);
  return absl::OkStatus();
}

}  // namespace

using grpc::ServerContext;
using grpc::Status;
using rpc::Caller;

Status AuditServiceImpl::Append(ServerContext* c, const audit::v1::AppendRequest* q,
                                audit::v1::AppendResponse* r) {
  return guard_.Run(c, "/oncomesh.audit.v1.AuditService/Append", *q,
                    [&](const Caller&) { return Into(log_.events().Append(*q), r); });
}
Status AuditServiceImpl::List(ServerContext* c, const audit::v1::ListRequest* q,
                              audit::v1::ListResponse* r) {
  return guard_.Run(c, "/oncomesh.audit.v1.AuditService/List", *q,
                    [&](const Caller& who) { return Into(log_.List(who, *q), r); });
}
Status AuditServiceImpl::ListLeafHashes(ServerContext* c, const audit::v1::ListLeafHashesRequest* q,
                                        audit::v1::ListLeafHashesResponse* r) {
  return guard_.Run(c, "/oncomesh.audit.v1.AuditService/ListLeafHashes", *q,
                    [&](const Caller&) { return Into(log_.events().ListLeafHashes(*q), r); });
}
Status AuditServiceImpl::Prove(ServerContext* c, const audit::v1::ProveRequest* q,
                               audit::v1::ProveResponse* r) {
  return guard_.Run(c, "/oncomesh.audit.v1.AuditService/Prove", *q,
                    [&](const Caller&) { return Into(log_.events().Prove(*q), r); });
}
Status AuditServiceImpl::GetCheckpoint(ServerContext* c, const audit::v1::GetCheckpointRequest* q,
                                       audit::v1::GetCheckpointResponse* r) {
  return guard_.Run(c, "/oncomesh.audit.v1.AuditService/GetCheckpoint", *q,
                    [&](const Caller&) { return Into(log_.events().GetCheckpoint(), r); });
}
Status AuditServiceImpl::Consistency(ServerContext* c, const audit::v1::ConsistencyRequest* q,
                                     audit::v1::ConsistencyResponse* r) {
  return guard_.Run(c, "/oncomesh.audit.v1.AuditService/Consistency", *q,
                    [&](const Caller&) { return Into(log_.events().Consistency(*q), r); });
}

}  // namespace oncomesh::access
