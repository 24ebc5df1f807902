// SPDX-License-Identifier: Apache-2.0
#include "services/training/run_desk.h"

#include <algorithm>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "libs/base/error.h"
#include "libs/base/log.h"
#include "libs/base/status_macros.h"
#include "libs/crypto/jws.h"
#include "libs/federated/plan.h"
#include "services/training/aggregation.h"

namespace oncomesh::training {
namespace {

bool IsUuid(const std::string& text) {
  if (text.size() != 36) return false;
  for (size_t i = 0; i < text.size(); ++i) {
    const bool dash = i == 8 || i == 13 || i == 18 || i == 23;
    if (dash ? text[i] != '-' : !std::isxdigit(static_cast<unsigned char>(text[i]))) return false;
  }
  return true;
}

int PageSize(int wanted) { return wanted <= 0 ? 50 : std::min(wanted, 200); }

absl::Status RunNotFound() {
  return base::Error(absl::StatusCode::kNotFound, "RUN_NOT_FOUND",
                     "there is no such run, or it is not yours to see");
}

absl::Status MustSee(const rpc::Caller& caller, const v1::Run& run) {
  const std::string owner = VisibleOwner(caller);
  return owner.empty() || owner == run.owner() ? absl::OkStatus() : RunNotFound();
}

}  // namespace

std::string VisibleOwner(const rpc::Caller& caller) {
  return caller.HasRole("auditor") || caller.HasRole("operator") ? "" : caller.subject;
}

absl::StatusOr<permit::Permit> RunDesk::CheckPermit(const rpc::Caller& caller,
                                                    const v1::Plan& plan) {
  ASSIGN_OR_RETURN(permit::TrustState trust, deps_.trust());
  permit::Use use;
  use.person = caller.subject;
  use.datasets = {plan.datasets().begin(), plan.datasets().end()};
  use.now = deps_.clock.Now();
  absl::StatusOr<permit::Permit> permit;
  std::vector<std::string> operations;
  if (plan.rounds() > 0) operations.push_back("train");
  if (plan.has_evaluate()) operations.push_back("evaluate");
  for (const std::string& operation : operations) {
    use.operation = operation;
    permit = permit::Check(caller.permit, trust, use);
    RETURN_IF_ERROR(permit.status());
  }
  if (permit->max_rounds > 0 && plan.rounds() > permit->max_rounds) {
    return base::Error(absl::StatusCode::kPermissionDenied, "PERMIT_ROUNDS_EXCEEDED",
                       absl::StrCat("the permit allows ", permit->max_rounds, " rounds per run"));
  }
  return permit;
}

absl::StatusOr<v1::Run> RunDesk::Submit(const rpc::Caller& caller,
                                        const v1::SubmitRunRequest& request) {
  if (!IsUuid(request.request_id())) {
    return base::Error(absl::StatusCode::kInvalidArgument, "REQUEST_ID_INVALID",
                       "request_id is a UUID; sending the same one again is harmless");
  }
  RETURN_IF_ERROR(federated::CheckPlan(request.plan()));
  const std::string plan_sha256 = federated::PlanDigest(request.plan());
  // Before the permit is held against the plan, and before a model of zeros is written: the run
  // exists whether or not it could still be submitted, and repeated requests cost the hub nothing.
  ASSIGN_OR_RETURN(std::optional<v1::Run> already,
                   deps_.store.RunAlready(caller.subject, request.request_id(), plan_sha256));
  if (already.has_value()) {
    caller.About(already->name());
    return *std::move(already);
  }
  ASSIGN_OR_RETURN(permit::Permit permit, CheckPermit(caller, request.plan()));
  RETURN_IF_ERROR(deps_.store.MayRunMore(caller.subject, deps_.max_running_runs));

  RunRecord record;
  v1::Run& run = record.run;
  const absl::Time now = deps_.clock.Now();
  const IdMaker ids = [this](const char* prefix) { return base::NewId(prefix, deps_.random); };
  run.set_name(ids("run-"));
  run.set_owner(caller.subject);
  *run.mutable_plan() = request.plan();
  run.set_plan_sha256(plan_sha256);
  run.set_state(v1::Run::STATE_RUNNING);
  run.set_permit(permit.id);
  run.set_permit_sha256(permit::Digest(caller.permit));
  *run.mutable_create_time() = ToProto(now);
  record.permit_jws = caller.permit;
  StartingModels::Hold hold;  // until the run is stored, which names it then
  if (!request.plan().model().initial().empty()) {
    ASSIGN_OR_RETURN(v1::Model initial,
                     deps_.store.GetModel(request.plan().model().initial(), caller.subject));
    run.set_model_sha256(initial.sha256());
  } else {
    ASSIGN_OR_RETURN(std::string zeros, StoreZeroModel(request.plan(), deps_.objects, deps_.scratch,
                                                       [&](const std::string& sha256) {
                                                         return deps_.starting.Take(sha256, hold);
                                                       }));
    run.set_model_sha256(zeros);
  }
  OpenFirstRound(record, now, ids);
  // A model that was given is only now known to fit the strategy, also when the first round is not
  // one that trains.
  if (request.plan().rounds() > 0) {
    RunRecord train = record;
    train.round.set_kind(v1::Round::KIND_TRAIN);
    train.round.set_input_sha256(run.model_sha256());
    RETURN_IF_ERROR(TemplateOf(train, deps_.objects).status());
  }
  ASSIGN_OR_RETURN(v1::Run stored,
                   deps_.store.AddRun(record, request.request_id(), deps_.max_running_runs));
  if (stored.name() == run.name()) {
    base::Log(base::Level::kInfo, "run.submitted",
              {{"run", run.name()},
               {"rounds", request.plan().rounds()},
               {"nodes", federated::NodesOf(request.plan()).size()}});
  }
  caller.About(stored.name());
  caller.Note("trainer", request.plan().trainer().digest());
  deps_.changes.Notify();
  return stored;
}

absl::StatusOr<v1::Run> RunDesk::Get(const rpc::Caller& caller, const std::string& name,
                                     int from_round, int& next) {
  ASSIGN_OR_RETURN(v1::Run run, deps_.store.GetRun(name, from_round, next));
  RETURN_IF_ERROR(MustSee(caller, run));
  return run;
}

absl::Status RunDesk::List(const rpc::Caller& caller, const v1::ListRunsRequest& request,
                           v1::ListRunsResponse& out) {
  const int size = PageSize(request.page_size());
  bool more = false;
  ASSIGN_OR_RETURN(auto runs,
                   deps_.store.ListRuns(VisibleOwner(caller), request.page_token(), size, more));
  if (more) out.set_next_page_token(runs.back().name());
  for (v1::Run& run : runs) *out.add_runs() = std::move(run);
  return absl::OkStatus();
}

absl::StatusOr<v1::Run> RunDesk::Cancel(const rpc::Caller& caller, const std::string& name) {
  RETURN_IF_ERROR(deps_.store.ChangeRun(name, [&](RunRecord& record, Additions&) -> absl::Status {
    if (!caller.HasRole("operator") && record.run.owner() != caller.subject) {
      return RunNotFound();
    }
    End(record, v1::Run::STATE_CANCELLED, "CANCELLED", "cancelled on request", deps_.clock.Now());
    return absl::OkStatus();
  }));
  deps_.changes.Notify();
  int next = 0;
  return deps_.store.GetRun(name, 0, next);
}

absl::Status RunDesk::Manifest(const rpc::Caller& caller, const std::string& run, int round,
                               v1::GetRoundManifestResponse& out) {
  ASSIGN_OR_RETURN(RunRecord record, deps_.store.ReadRun(run));
  RETURN_IF_ERROR(MustSee(caller, record.run));
  ASSIGN_OR_RETURN(std::string jws, deps_.store.Manifest(run, round));
  out.set_sha256(crypto::Sha256Hex(jws));
  out.set_jws(std::move(jws));
  return absl::OkStatus();
}

std::string RunDesk::ManifestKeys() const { return crypto::PrintJwks(deps_.manifest_keys); }

absl::Status RunDesk::ListModels(const rpc::Caller& caller, const v1::ListModelsRequest& request,
                                 v1::ListModelsResponse& out) {
  int64_t after = 0, next = 0;
  if (!request.page_token().empty() &&
      (!absl::SimpleAtoi(request.page_token(), &after) || after < 1)) {
    return base::Error(absl::StatusCode::kInvalidArgument, "PAGE_TOKEN_INVALID",
                       "the page token is not one of ours; start from the first page");
  }
  ASSIGN_OR_RETURN(auto models,
                   deps_.store.ListModels(VisibleOwner(caller), request.run(), request.final_only(),
                                          after, PageSize(request.page_size()), next));
  for (v1::Model& model : models) *out.add_models() = std::move(model);
  if (next > 0) out.set_next_page_token(absl::StrCat(next));
  return absl::OkStatus();
}

absl::StatusOr<v1::Model> RunDesk::GetModel(const rpc::Caller& caller, const std::string& sha256) {
  return deps_.store.GetModel(sha256, VisibleOwner(caller));
}

absl::StatusOr<std::string> RunDesk::ModelPath(const rpc::Caller& caller,
                                               const std::string& sha256) {
  // The bytes are for the researcher whose run it was; auditors and operators see the lineage only.
  RETURN_IF_ERROR(deps_.store.GetModel(sha256, caller.subject).status());
  return deps_.objects.LocalPath(sha256);
}

}  // namespace oncomesh::training
