// SPDX-License-Identifier: Apache-2.0
#include "services/catalogue/catalogue_service.h"

#include "absl/time/time.h"
#include "libs/base/status_macros.h"

namespace oncomesh::catalogue {
namespace {

using grpc::ServerContext;
using grpc::Status;
using rpc::Caller;

}  // namespace

v1::ListVariablesResponse Describe(const terminology::Registry& registry) {
  v1::ListVariablesResponse out;
  out.set_registry_version(registry.version());
  for (const auto& variable : registry.variables()) {
    v1::VariableInfo* info = out.add_variables();
    info->set_name(variable->name);
    info->set_level(static_cast<query::v1::Level>(static_cast<int>(variable->level) + 1));
    info->set_type(std::string(terminology::TypeName(variable->type)));
    info->set_code_system(variable->code_system.title);
    info->set_unit(variable->unit);
    info->set_description(variable->description);
    for (const terminology::Value& value : variable->values) {
      v1::CodeInfo* code = info->add_values();
      code->set_code(value.code);
      code->set_label(value.label);
    }
    info->set_closed(variable->closed);
    for (size_t i = 0; i < variable->bands.size(); ++i) {
      info->add_bands(variable->BandLabel(static_cast<int>(i)));
    }
  }
  return out;
}

Status CatalogueServiceImpl::SearchDatasets(ServerContext* c, const v1::SearchDatasetsRequest* q,
                                            v1::SearchDatasetsResponse* r) {
  return guard_.Run(c, "/oncomesh.catalogue.v1.CatalogueService/SearchDatasets", *q,
                    [&](const Caller&) -> absl::Status {
                      ASSIGN_OR_RETURN(*r, records_.Search(*q));
                      return absl::OkStatus();
                    });
}

Status CatalogueServiceImpl::GetDataset(ServerContext* c, const v1::GetDatasetRequest* q,
                                        v1::GetDatasetResponse* r) {
  return guard_.Run(c, "/oncomesh.catalogue.v1.CatalogueService/GetDataset", *q,
                    [&](const Caller&) -> absl::Status {
                      ASSIGN_OR_RETURN(*r, records_.Get(q->name()));
                      return absl::OkStatus();
                    });
}

Status CatalogueServiceImpl::Count(ServerContext* c, const v1::CountRequest* q,
                                   v1::CountResponse* r) {
  return guard_.Run(c, "/oncomesh.catalogue.v1.CatalogueService/Count", *q,
                    [&](const Caller& who) -> absl::Status {
                      // Only here is the person known; a node sees a call of the hub.
                      if (!who.permit.empty()) {
                        RETURN_IF_ERROR(permits_.Check(who, "count", who.permit));
                      }
                      ASSIGN_OR_RETURN(
                          *r, count_.Count(*q, who.permit, absl::FromChrono(c->deadline())));
                      return absl::OkStatus();
                    });
}

Status CatalogueServiceImpl::ListVariables(ServerContext* c, const v1::ListVariablesRequest* q,
                                           v1::ListVariablesResponse* r) {
  return guard_.Run(c, "/oncomesh.catalogue.v1.CatalogueService/ListVariables", *q,
                    [&](const Caller&) {
                      *r = Describe(registry_);
                      return absl::OkStatus();
                    });
}

Status CatalogueServiceImpl::PublishRecord(ServerContext* c, const v1::PublishRecordRequest* q,
                                           v1::PublishRecordResponse* r) {
  return guard_.Run(c, "/oncomesh.catalogue.v1.CatalogueService/PublishRecord", *q,
                    [&](const Caller& who) -> absl::Status {
                      ASSIGN_OR_RETURN(*r->mutable_record(),
                                       records_.Publish(who.node, q->record()));
                      return absl::OkStatus();
                    });
}

Status CatalogueServiceImpl::WithdrawRecord(ServerContext* c, const v1::WithdrawRecordRequest* q,
                                            v1::WithdrawRecordResponse* r) {
  return guard_.Run(c, "/oncomesh.catalogue.v1.CatalogueService/WithdrawRecord", *q,
                    [&](const Caller& who) -> absl::Status {
                      ASSIGN_OR_RETURN(*r->mutable_record(),
                                       records_.Withdraw(who.node, q->name()));
                      return absl::OkStatus();
                    });
}

}  // namespace oncomesh::catalogue
