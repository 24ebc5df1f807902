// SPDX-License-Identifier: Apache-2.0
#include "tools/oncomesh/access_commands.h"

#include <memory>
#include <nlohmann/json.hpp>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "absl/time/time.h"
#include "libs/base/random.h"
#include "libs/base/status_macros.h"
#include "oncomesh/access/v1/access.grpc.pb.h"
#include "tools/oncomesh/front_door.h"
#include "tools/oncomesh/names.h"
#include "tools/oncomesh/proto_json.h"

namespace oncomesh::cli {
namespace {

using access::v1::AccessService;
using Stub = AccessService::Stub;

std::string StateName(access::v1::Request::State state) {
  return access::v1::Request::State_Name(state).substr(6);  // without "STATE_"
}

std::string DecisionText(bool made, const access::v1::Decision& decision) {
  if (!made) return "pending";
  return absl::StrCat(decision.approved() ? "approved" : "refused", " by ", decision.decided_by(),
                      decision.max_rounds() == 0
                          ? ""
                          : absl::StrCat(" for runs of at most ", decision.max_rounds(), " rounds"),
                      decision.reason().empty() ? "" : ": ", Printable(decision.reason()));
}

nlohmann::json RequestJson(const access::v1::Request& request) {
  nlohmann::json json = ToJson(request);
  json["state"] = StateName(request.state());
  return json;
}

std::string RequestText(const access::v1::Request& request) {
  std::string out = absl::StrCat(
      "request    ", request.id(), "\ntitle      ", Printable(request.title()), "\napplicant  ",
      request.applicant(), "\npurpose    ", request.purpose(), "\noperations ",
      absl::StrJoin(request.operations(), ", "), "\nuntil      ",
      TimeText(request.until_time().seconds()), "\nstate      ", StateName(request.state()), "\n");
  for (const auto& entry : request.datasets()) {
    absl::StrAppend(&out, "dataset    ", entry.dataset(),
                    "\n           DUO advice: ", entry.advice(), " (", entry.advice_reason(),
                    ")\n           holder: ", DecisionText(entry.has_holder(), entry.holder()),
                    "\n");
  }
  absl::StrAppend(&out, "committee  ", DecisionText(request.has_committee(), request.committee()),
                  "\n");
  if (!request.permit_id().empty()) absl::StrAppend(&out, "permit     ", request.permit_id(), "\n");
  return out;
}

absl::StatusOr<std::unique_ptr<Stub>> Connect(Session& session) {
  ASSIGN_OR_RETURN(auto channel, OpenFrontDoor(session));
  return AccessService::NewStub(channel);
}

// A date "2027-12-31" means the end of that day, UTC; RFC 3339 times are taken as they are.
absl::StatusOr<int64_t> ParseUntil(const std::string& text) {
  absl::Time time;
  std::string error;
  if (absl::ParseTime("%Y-%m-%d", text, absl::UTCTimeZone(), &time, &error)) {
    return absl::ToUnixSeconds(time) + 86399;
  }
  if (absl::ParseTime(absl::RFC3339_full, text, &time, &error)) return absl::ToUnixSeconds(time);
  return WrongUsage("DATE_INVALID", "--until takes a date such as 2027-12-31");
}

}  // namespace

void AddAccessCommands(CLI::App& app, Session& session) {
  CLI::App* access = app.add_subcommand("access", "ask for access to datasets, and decide on it");
  access->require_subcommand(1);
  access->footer(
      "Example: oncomesh access request --datasets nodes/north/datasets/sarcoma/versions/1 \\\n"
      "           --purpose DUO:0000006 --title 'PET/CT tumour finding' --operations count,train "
      "\\\n"
      "           --until 2027-12-31");

  {
    struct Args {
      std::string datasets, purpose, title, operations, until, answers, request_id;
    };
    auto args = std::make_shared<Args>();
    CLI::App* command = access->add_subcommand("request", "ask for access (researcher)");
    command->add_option("--datasets", args->datasets, "datasets with their versions, by comma")
        ->required()
        ->type_name(kNamesOfDatasets);
    command->add_option("--purpose", args->purpose, "DUO code of the purpose, e.g. DUO:0000006")
        ->required();
    command->add_option("--title", args->title, "what the work is, in one line")->required();
    command->add_option("--operations", args->operations, "count, train, evaluate, by comma")
        ->required();
    command->add_option("--until", args->until, "last day, e.g. 2027-12-31")->required();
    command->add_option("--answers", args->answers,
                        "JSON file with answers to the committee's questions");
    command->add_option("--request-id", args->request_id, "UUID that makes a repeat harmless");
    command->footer(
        "Example: oncomesh access request --datasets nodes/north/datasets/sarcoma/versions/1 "
        "--purpose DUO:0000006 --title T --operations train --until 2027-12-31");
    OnRun(command, session, [args, &session]() -> absl::StatusOr<int> {
      access::v1::CreateRequestRequest request;
      for (absl::string_view name : absl::StrSplit(args->datasets, ',', absl::SkipEmpty())) {
        request.add_datasets(std::string(absl::StripAsciiWhitespace(name)));
      }
      for (absl::string_view name : absl::StrSplit(args->operations, ',', absl::SkipEmpty())) {
        request.add_operations(std::string(absl::StripAsciiWhitespace(name)));
      }
      request.set_purpose(args->purpose);
      request.set_title(args->title);
      ASSIGN_OR_RETURN(int64_t until, ParseUntil(args->until));
      request.mutable_until_time()->set_seconds(until);
      if (!args->answers.empty()) {
        ASSIGN_OR_RETURN(std::string answers,
                         ReadNamedFile(args->answers, 64 << 10, "the answers"));
        request.set_answers_json(answers);
      }
      request.set_request_id(args->request_id.empty() ? base::NewUuid() : args->request_id);
      ASSIGN_OR_RETURN(auto stub, Connect(session));
      ASSIGN_OR_RETURN(auto response, Call(*stub, &Stub::CreateRequest, request));
      session.Print(RequestJson(response.request()), RequestText(response.request()));
      return kDone;
    });
  }
  {
    CLI::App* command = access->add_subcommand("list", "requests you may see, newest first");
    command->footer("Example: oncomesh access list -o json");
    OnRun(command, session, [&session]() -> absl::StatusOr<int> {
      ASSIGN_OR_RETURN(auto stub, Connect(session));
      access::v1::ListRequestsRequest request;
      nlohmann::json all = nlohmann::json::array();
      std::vector<std::vector<std::string>> rows = {
          {"REQUEST", "STATE", "APPLICANT", "DATASETS", "TITLE"}};
      do {
        ASSIGN_OR_RETURN(auto response, Call(*stub, &Stub::ListRequests, request));
        for (const auto& entry : response.requests()) {
          all.push_back(RequestJson(entry));
          rows.push_back({entry.id(), StateName(entry.state()), entry.applicant(),
                          absl::StrCat(entry.datasets_size()), entry.title()});
        }
        request.set_page_token(response.next_page_token());
      } while (!request.page_token().empty());
      session.Print({{"requests", all}}, Table(rows));
      return kDone;
    });
  }
  {
    auto id = std::make_shared<std::string>();
    CLI::App* command = access->add_subcommand("show", "one request with every decision");
    command->add_option("ID", *id)->required()->type_name(kNameOfRequest);
    command->footer("Example: oncomesh access show req-…");
    OnRun(command, session, [id, &session]() -> absl::StatusOr<int> {
      ASSIGN_OR_RETURN(auto stub, Connect(session));
      access::v1::GetRequestRequest request;
      request.set_id(*id);
      ASSIGN_OR_RETURN(auto response, Call(*stub, &Stub::GetRequest, request));
      session.Print(RequestJson(response.request()), RequestText(response.request()));
      return kDone;
    });
  }
  {
    auto id = std::make_shared<std::string>();
    CLI::App* command = access->add_subcommand("withdraw", "take a request back (its applicant)");
    command->add_option("ID", *id)->required()->type_name(kNameOfRequest);
    command->footer("Example: oncomesh access withdraw req-…");
    OnRun(command, session, [id, &session]() -> absl::StatusOr<int> {
      ASSIGN_OR_RETURN(auto stub, Connect(session));
      access::v1::WithdrawRequestRequest request;
      request.set_id(*id);
      ASSIGN_OR_RETURN(auto response, Call(*stub, &Stub::WithdrawRequest, request));
      session.Print(RequestJson(response.request()), RequestText(response.request()));
      return kDone;
    });
  }
  {
    struct Args {
      std::string id, reason, dataset;
      int max_rounds = 0;
      bool approve = false, refuse = false;
    };
    auto args = std::make_shared<Args>();
    CLI::App* command =
        access->add_subcommand("decide", "decide on a request (committee; holder at their node)");
    command->add_option("ID", args->id)->required()->type_name(kNameOfRequest);
    auto* approve = command->add_flag("--approve", args->approve, "yes");
    auto* refuse = command->add_flag("--refuse", args->refuse, "no; needs a reason");
    approve->excludes(refuse);
    command->add_option("--reason", args->reason, "why; the applicant reads it");
    command->add_option("--dataset", args->dataset, "holder: only this dataset")
        ->type_name(kNameOfDataset);
    command
        ->add_option("--max-rounds", args->max_rounds,
                     "with --approve: the most rounds of one training run under the permit")
        ->check(CLI::Range(1, 1'000'000))
        ->excludes(refuse);
    command->footer(
        "Example: oncomesh access decide req-… --approve --reason 'fits the consent' "
        "--max-rounds 100");
    OnRun(command, session, [args, &session]() -> absl::StatusOr<int> {
      if (args->approve == args->refuse) {
        return WrongUsage("DECISION_NEEDED", "say --approve or --refuse");
      }
      access::v1::DecideRequest request;
      request.set_id(args->id);
      request.set_approve(args->approve);
      request.set_reason(args->reason);
      request.set_dataset(args->dataset);
      request.set_max_rounds(args->max_rounds);
      ASSIGN_OR_RETURN(auto stub, Connect(session));
      ASSIGN_OR_RETURN(auto response, Call(*stub, &Stub::Decide, request));
      session.Print(RequestJson(response.request()), RequestText(response.request()));
      return kDone;
    });
  }
}

}  // namespace oncomesh::cli
