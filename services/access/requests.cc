// SPDX-License-Identifier: Apache-2.0
#include "services/access/requests.h"

#include <algorithm>
#include <optional>
#include <set>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "libs/base/error.h"
#include "libs/base/status_macros.h"
#include "libs/crypto/jws.h"
#include "services/access/duo.h"

namespace oncomesh::access {
namespace {

constexpr int kMaxDatasets = 100;
constexpr size_t kMaxTitle = 200;
constexpr size_t kMaxReason = 2000;
constexpr size_t kMaxAnswers = 64 << 10;
constexpr size_t kMaxPageBytes = 1 << 20;  // a request has up to 64 KiB of answers
constexpr int kReadTogether = 200;
constexpr int kMaxRounds = 1'000'000;
constexpr absl::Duration kMaxTime = absl::Hours(24 * 731);

absl::Status Invalid(absl::string_view field, absl::string_view message) {
  return base::Error(absl::StatusCode::kInvalidArgument, "REQUEST_INVALID",
                     absl::StrCat(field, ": ", message), {{"field", std::string(field)}});
}

absl::Status NotYours(const std::string& id) {
  return base::Error(absl::StatusCode::kNotFound, "REQUEST_NOT_FOUND",
                     "there is no request of this name, or it is not yours to see", {{"name", id}});
}

std::string StateName(const v1::Request& request) {
  return v1::Request::State_Name(request.state()).substr(sizeof("STATE_") - 1);
}

absl::Status WrongState(const v1::Request& request, absl::string_view what) {
  return base::Error(absl::StatusCode::kFailedPrecondition, "REQUEST_STATE",
                     absl::StrCat("the request is ", StateName(request), ", so ", what),
                     {{"state", StateName(request)}});
}

bool Open(const v1::Request& request) {
  return request.state() == v1::Request::STATE_SUBMITTED ||
         request.state() == v1::Request::STATE_COMMITTEE;
}

// A dataset may be asked for without its version: the newest of that day was taken, and is in the
// request with it.
bool SameDataset(const std::string& stored, const std::string& wished) {
  return stored == wished || absl::StartsWith(stored, absl::StrCat(wished, "/versions/"));
}

// Whether the same was asked for, whatever has been decided since.
bool SameWish(const v1::Request& stored, const v1::CreateRequestRequest& wish) {
  return stored.title() == wish.title() && stored.purpose() == wish.purpose() &&
         stored.until_time().seconds() == wish.until_time().seconds() &&
         stored.answers_json() == wish.answers_json() &&
         std::equal(stored.operations().begin(), stored.operations().end(),
                    wish.operations().begin(), wish.operations().end()) &&
         std::equal(stored.datasets().begin(), stored.datasets().end(), wish.datasets().begin(),
                    wish.datasets().end(), [](const auto& made, const std::string& wished) {
                      return SameDataset(made.dataset(), wished);
                    });
}

absl::StatusOr<v1::Request> MadeBefore(v1::Request stored, const v1::CreateRequestRequest& wish) {
  if (SameWish(stored, wish)) return stored;
  return base::Error(absl::StatusCode::kAlreadyExists, "REQUEST_ID_REUSED",
                     "you have made another request with this requestId; a new wish needs a new "
                     "UUID",
                     {{"name", stored.id()}});
}

bool NamesDatasetOf(const v1::Request& request, absl::string_view node) {
  return std::any_of(request.datasets().begin(), request.datasets().end(),
                     [&](const auto& d) { return NodeOfDataset(d.dataset()) == node; });
}

bool SeesAll(const rpc::Caller& person) {
  return person.HasRole("committee") || person.HasRole("auditor") || person.HasRole("operator");
}

bool MaySee(const rpc::Caller& caller, const v1::Request& request) {
  if (caller.kind == rpc::Caller::Kind::kService) {
    return caller.node.empty() || NamesDatasetOf(request, caller.node);
  }
  return caller.subject == request.applicant() || SeesAll(caller);
}

}  // namespace

absl::StatusOr<v1::Request> RequestBook::Create(const rpc::Caller& caller,
                                                const v1::CreateRequestRequest& wish) {
  if (wish.request_id().empty() || wish.request_id().size() > 64) {
    return Invalid("requestId", "a UUID of the caller's is needed, so that a repeat is recognised");
  }
  // Before anything is looked at that changes with time: datasets are withdrawn, the catalogue goes
  // away, and the day until which was asked passes.
  ASSIGN_OR_RETURN(std::optional<v1::Request> made,
                   deps_.store.FindRequest(caller.subject, wish.request_id()));
  if (made.has_value()) return MadeBefore(*std::move(made), wish);
  if (wish.title().empty() || wish.title().size() > kMaxTitle) {
    return Invalid("title", "1 to 200 characters");
  }
  if (!IsDuoCode(wish.purpose())) {
    return Invalid("purpose", "a code of the Data Use Ontology, such as DUO:0000006");
  }
  if (wish.datasets().empty() || wish.datasets_size() > kMaxDatasets) {
    return Invalid("datasets", "1 to 100 datasets");
  }
  if (wish.operations().empty())
    return Invalid("operations", "at least one of count, train, evaluate");
  for (const std::string& operation : wish.operations()) {
    if (operation != "count" && operation != "train" && operation != "evaluate") {
      return Invalid("operations", "count, train and evaluate exist");
    }
  }
  if (wish.answers_json().size() > kMaxAnswers) return Invalid("answersJson", "at most 64 KiB");
  if (!wish.answers_json().empty() && !crypto::ParseStrictJson(wish.answers_json()).ok()) {
    return Invalid("answersJson", "a JSON document");
  }
  const absl::Time now = deps_.clock.Now();
  const absl::Time until = absl::FromUnixSeconds(wish.until_time().seconds());
  if (until <= now || until > now + kMaxTime) {
    return Invalid("untilTime", "a time after now and within two years");
  }
  v1::Request request;
  request.set_id(base::NewId("req-", deps_.random));
  request.set_applicant(caller.subject);
  request.set_title(wish.title());
  request.set_purpose(wish.purpose());
  *request.mutable_operations() = wish.operations();
  *request.mutable_until_time() = wish.until_time();
  request.set_answers_json(wish.answers_json());
  request.set_state(v1::Request::STATE_SUBMITTED);
  request.mutable_create_time()->set_seconds(absl::ToUnixSeconds(now));
  std::set<std::string> seen;
  for (const std::string& name : wish.datasets()) {
    ASSIGN_OR_RETURN(DatasetFacts facts, deps_.datasets(name));
    if (!seen.insert(facts.name).second) return Invalid("datasets", "each dataset only once");
    v1::DatasetDecision& entry = *request.add_datasets();
    entry.set_dataset(facts.name);
    for (const std::string& code : facts.duo_codes) entry.add_duo_codes(code);
    Advice advice = Match(wish.purpose(), facts.duo_codes);
    entry.set_advice(FitName(advice.fit));
    entry.set_advice_reason(advice.reason);
  }
  ASSIGN_OR_RETURN(v1::Request stored, deps_.store.AddRequest(request, wish.request_id()));
  return MadeBefore(std::move(stored), wish);
}

absl::StatusOr<v1::Request> RequestBook::Get(const rpc::Caller& caller, const std::string& id) {
  ASSIGN_OR_RETURN(v1::Request request, deps_.store.GetRequest(id));
  if (!MaySee(caller, request)) return NotYours(id);
  return request;
}

absl::Status RequestBook::List(const rpc::Caller& caller, const v1::ListRequestsRequest& query,
                               v1::ListRequestsResponse& out) {
  if (query.page_size() < 0) return Invalid("pageSize", "not negative");
  const int size = query.page_size() == 0 ? 50 : std::min(query.page_size(), 200);
  // Who sees only their own reads only those.
  const bool own = caller.kind == rpc::Caller::Kind::kPerson && !SeesAll(caller);
  std::string after = query.page_token();
  size_t bytes = 0;
  while (true) {
    ASSIGN_OR_RETURN(std::vector<v1::Request> some,
                     deps_.store.ListRequests(after, kReadTogether, own ? caller.subject : ""));
    for (v1::Request& request : some) {
      if (MaySee(caller, request)) {
        bytes += request.ByteSizeLong();
        if (out.requests_size() == size || (bytes > kMaxPageBytes && out.requests_size() > 0)) {
          out.set_next_page_token(out.requests(out.requests_size() - 1).id());
          return absl::OkStatus();
        }
        after = request.id();
        *out.add_requests() = std::move(request);
      } else {
        after = request.id();
      }
    }
    if (static_cast<int>(some.size()) < kReadTogether) return absl::OkStatus();
  }
}

absl::StatusOr<v1::Request> RequestBook::Withdraw(const rpc::Caller& caller,
                                                  const std::string& id) {
  return deps_.store.ChangeRequest(id, [&](v1::Request& request, auto&) -> absl::Status {
    if (request.applicant() != caller.subject) return NotYours(id);
    if (!Open(request)) return WrongState(request, "it cannot be withdrawn");
    request.set_state(v1::Request::STATE_WITHDRAWN);
    return absl::OkStatus();
  });
}

absl::StatusOr<v1::Request> RequestBook::Decide(const rpc::Caller& caller,
                                                const v1::DecideRequest& decision) {
  if (!decision.approve() && decision.reason().empty()) {
    return base::Error(absl::StatusCode::kInvalidArgument, "REASON_NEEDED",
                       "a refusal needs a reason that the applicant can read");
  }
  if (decision.reason().size() > kMaxReason) {
    return base::Error(absl::StatusCode::kInvalidArgument, "REASON_NEEDED",
                       "the reason has at most 2,000 characters");
  }
  if (decision.max_rounds() < 0 || decision.max_rounds() > kMaxRounds) {
    return base::Error(absl::StatusCode::kInvalidArgument, "LIMIT_INVALID",
                       "maxRounds: 1 to 1,000,000, or none for no limit", {{"field", "maxRounds"}});
  }
  if (decision.max_rounds() > 0 && !decision.approve()) {
    return base::Error(absl::StatusCode::kInvalidArgument, "LIMIT_INVALID",
                       "a refusal permits nothing that maxRounds could limit",
                       {{"field", "maxRounds"}});
  }
  const bool holder = caller.kind == rpc::Caller::Kind::kService;
  const std::string& person = holder ? decision.decided_by() : caller.subject;
  if (person.empty()) {
    return base::Error(absl::StatusCode::kInvalidArgument, "REASON_NEEDED",
                       "the node must say who decided");
  }
  return deps_.store.ChangeRequest(
      decision.id(), [&](v1::Request& request, std::optional<PermitRow>& permit) -> absl::Status {
        if (!MaySee(caller, request)) return NotYours(decision.id());
        if (person == request.applicant()) {
          return base::Error(absl::StatusCode::kPermissionDenied, "OWN_REQUEST",
                             "nobody decides on a request of their own; ask a colleague");
        }
        if (!Open(request)) return WrongState(request, "there is nothing left to decide");
        v1::Decision made;
        made.set_approved(decision.approve());
        made.set_decided_by(person);
        made.set_reason(decision.reason());
        made.set_max_rounds(decision.max_rounds());
        made.mutable_decide_time()->set_seconds(absl::ToUnixSeconds(deps_.clock.Now()));
        if (holder) {
          if (request.state() != v1::Request::STATE_SUBMITTED) {
            return WrongState(request, "the holders' part is over");
          }
          bool any = false;
          for (v1::DatasetDecision& entry : *request.mutable_datasets()) {
            if (NodeOfDataset(entry.dataset()) != caller.node) continue;
            if (!decision.dataset().empty() && decision.dataset() != entry.dataset()) continue;
            *entry.mutable_holder() = made;
            any = true;
          }
          if (!any) {
            return base::Error(absl::StatusCode::kPermissionDenied, "NOT_YOUR_DATASET",
                               "the request names no such dataset of this node");
          }
          bool all = true, some = false;
          for (const v1::DatasetDecision& entry : request.datasets()) {
            all = all && entry.has_holder();
            some = some || (entry.has_holder() && entry.holder().approved());
          }
          if (all) {
            request.set_state(some ? v1::Request::STATE_COMMITTEE : v1::Request::STATE_REFUSED);
          }
          return absl::OkStatus();
        }
        if (!caller.HasRole("committee")) {
          return base::Error(absl::StatusCode::kPermissionDenied, "ROLE_NEEDED",
                             "a holder decides at their own node's front door, the committee here");
        }
        // The same person may not approve as holder and as committee: two pairs of eyes.
        for (const v1::DatasetDecision& entry : request.datasets()) {
          if (entry.has_holder() && entry.holder().decided_by() == person) {
            return base::Error(absl::StatusCode::kPermissionDenied, "OWN_REQUEST",
                               "who decided as a holder cannot decide for the committee too");
          }
        }
        if (!decision.approve()) {
          *request.mutable_committee() = made;
          request.set_state(v1::Request::STATE_REFUSED);
          return absl::OkStatus();
        }
        if (request.state() != v1::Request::STATE_COMMITTEE) {
          return base::Error(absl::StatusCode::kFailedPrecondition, "HOLDERS_PENDING",
                             "not every holder has decided yet; see `oncomesh access show`");
        }
        std::vector<std::string> datasets;
        for (const v1::DatasetDecision& entry : request.datasets()) {
          if (entry.holder().approved()) datasets.push_back(entry.dataset());
        }
        *request.mutable_committee() = made;
        ASSIGN_OR_RETURN(permit, deps_.sign(request, datasets));
        request.set_permit_id(permit->permit.id());
        request.set_state(static_cast<int>(datasets.size()) == request.datasets_size()
                              ? v1::Request::STATE_APPROVED
                              : v1::Request::STATE_PARTLY_APPROVED);
        return absl::OkStatus();
      });
}

}  // namespace oncomesh::access
