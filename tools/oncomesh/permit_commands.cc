// SPDX-License-Identifier: Apache-2.0
#include "tools/oncomesh/permit_commands.h"

#include <memory>
#include <nlohmann/json.hpp>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "libs/base/error.h"
#include "libs/base/files.h"
#include "libs/base/status_macros.h"
#include "oncomesh/access/v1/access.grpc.pb.h"
#include "tools/oncomesh/front_door.h"
#include "tools/oncomesh/names.h"
#include "tools/oncomesh/permit_argument.h"
#include "tools/oncomesh/proto_json.h"

namespace oncomesh::cli {
namespace {

using access::v1::AccessService;
using Stub = AccessService::Stub;

std::string StateName(access::v1::Permit::State state) {
  return access::v1::Permit::State_Name(state).substr(6);
}

nlohmann::json PermitJson(const access::v1::Permit& permit) {
  nlohmann::json json = ToJson(permit);
  json["state"] = StateName(permit.state());
  return json;
}

std::string PermitText(const access::v1::Permit& permit) {
  std::string out = absl::StrCat(
      "permit     ", permit.id(), "\nstate      ", StateName(permit.state()),
      permit.revoke_reason().empty() ? "" : ": ", Printable(permit.revoke_reason()),
      "\npeople     ", absl::StrJoin(permit.people(), ", "), "\npurpose    ", permit.purpose(),
      "\noperations ", absl::StrJoin(permit.operations(), ", "), "\nfrom       ",
      TimeText(permit.not_before_time().seconds()), "\nuntil      ",
      TimeText(permit.expire_time().seconds()), "\nrequest    ", permit.request(), "\n");
  if (permit.max_rounds() > 0) {
    absl::StrAppend(&out, "limits     runs of at most ", permit.max_rounds(), " rounds\n");
  }
  for (const std::string& dataset : permit.datasets())
    absl::StrAppend(&out, "dataset    ", dataset, "\n");
  return out;
}

}  // namespace

void AddPermitCommands(CLI::App& app, Session& session) {
  CLI::App* permit = app.add_subcommand("permit", "permits: what was allowed, and to whom");
  permit->require_subcommand(1);
  permit->footer("Example: oncomesh permit export permit-… --out permit.jws");
  auto get = [&session](const std::string& id) -> absl::StatusOr<access::v1::GetPermitResponse> {
    ASSIGN_OR_RETURN(auto channel, OpenFrontDoor(session));
    auto stub = AccessService::NewStub(channel);
    access::v1::GetPermitRequest request;
    request.set_id(id);
    return Call(*stub, &Stub::GetPermit, request);
  };
  {
    auto id = std::make_shared<std::string>();
    CLI::App* command = permit->add_subcommand("show", "a permit's claims and state");
    command->add_option("ID", *id)->required()->type_name(kNameOfPermit);
    command->footer("Example: oncomesh permit show permit-…");
    OnRun(command, session, [id, get, &session]() -> absl::StatusOr<int> {
      ASSIGN_OR_RETURN(auto response, get(*id));
      session.Print(PermitJson(response.permit()), PermitText(response.permit()));
      return kDone;
    });
  }
  {
    struct Args {
      std::string id, out;
      bool force = false;
    };
    auto args = std::make_shared<Args>();
    CLI::App* command = permit->add_subcommand("export", "the signed permit (compact JWS)");
    command->add_option("ID", args->id)->required()->type_name(kNameOfPermit);
    command->add_option("--out", args->out, "file; without it the permit goes to stdout");
    command->add_flag("--force", args->force, "overwrite the file");
    command->footer("Example: oncomesh permit export permit-… --out permit.jws");
    OnRun(command, session, [args, get, &session]() -> absl::StatusOr<int> {
      ASSIGN_OR_RETURN(auto response, get(args->id));
      if (!args->out.empty()) {
        RETURN_IF_ERROR(
            base::WriteFileAtomically(args->out, response.jws() + "\n", 0600, args->force));
        session.Print({{"permit", args->id}, {"file", args->out}},
                      absl::StrCat(args->id, " is in ", args->out));
      } else {
        session.Print({{"permit", args->id}, {"jws", response.jws()}}, response.jws());
      }
      return kDone;
    });
  }
  {
    auto what = std::make_shared<std::string>();
    CLI::App* command =
        permit->add_subcommand("verify", "is a signed permit genuine and in force?");
    command->add_option("FILE", *what, "file with the signed permit, or its id")
        ->required()
        ->type_name(kNameOfPermit);
    command->footer("Example: oncomesh permit verify permit.jws");
    OnRun(command, session, [what, get, &session]() -> absl::StatusOr<int> {
      access::v1::VerifyPermitRequest request;
      absl::StatusOr<std::string> file = base::ReadFile(*what, 64 << 10);
      if (file.ok()) {
        ASSIGN_OR_RETURN(*request.mutable_jws(), SignedText(*file, "PERMIT_INVALID", kNoPermit));
      } else {
        ASSIGN_OR_RETURN(auto response, get(*what));
        request.set_jws(response.jws());
      }
      ASSIGN_OR_RETURN(auto channel, OpenFrontDoor(session));
      auto stub = AccessService::NewStub(channel);
      ASSIGN_OR_RETURN(auto response, Call(*stub, &Stub::VerifyPermit, request));
      nlohmann::json json = PermitJson(response.permit());
      json["valid"] = true;
      session.Print(json, absl::StrCat("genuine and in force\n", PermitText(response.permit())));
      return kDone;
    });
  }
  {
    struct Args {
      std::string id, reason = "no reason given";
    };
    auto args = std::make_shared<Args>();
    CLI::App* command = permit->add_subcommand("revoke", "end a permit now (committee, operator)");
    command->add_option("ID", args->id)->required()->type_name(kNameOfPermit);
    command->add_option("--reason", args->reason, "why; its people read it")->capture_default_str();
    command->footer("Example: oncomesh permit revoke permit-… --reason 'study ended'");
    OnRun(command, session, [args, &session]() -> absl::StatusOr<int> {
      ASSIGN_OR_RETURN(auto channel, OpenFrontDoor(session));
      auto stub = AccessService::NewStub(channel);
      access::v1::RevokePermitRequest request;
      request.set_id(args->id);
      request.set_reason(args->reason);
      ASSIGN_OR_RETURN(auto response, Call(*stub, &Stub::RevokePermit, request));
      nlohmann::json json = ToJson(response);
      json["permit"] = PermitJson(response.permit());
      session.Print(json, absl::StrCat("revoked; epoch ", response.epoch(),
                                       "; told: ", absl::StrJoin(response.nodes_told(), ", "),
                                       response.nodes_missing_size() == 0 ? "" : "; not reached: ",
                                       absl::StrJoin(response.nodes_missing(), ", "), "\n"));
      return response.nodes_missing_size() == 0 ? kDone : kPartly;
    });
  }
}

}  // namespace oncomesh::cli
