// SPDX-License-Identifier: Apache-2.0
#include "tools/oncomesh/audit_commands.h"

#include <algorithm>
#include <memory>
#include <nlohmann/json.hpp>

#include "absl/strings/escaping.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "libs/base/error.h"
#include "libs/base/status_macros.h"
#include "libs/ledger/hash.h"
#include "tools/oncomesh/audit_check.h"
#include "tools/oncomesh/front_door.h"
#include "tools/oncomesh/names.h"
#include "tools/oncomesh/proto_json.h"

namespace oncomesh::cli {
namespace {

using nlohmann::json;

// The context at another site: the same person at that site's front door, whose address stands in
// the context of the site's holder.
absl::StatusOr<Context> ContextAt(const Session& session, const std::string& site) {
  ASSIGN_OR_RETURN(Context context, session.LoadContext());
  if (site.empty()) return context;
  const std::string path = session.context_path();
  const std::string folder =
      path.find('/') == std::string::npos ? "." : path.substr(0, path.rfind('/'));
  Session other = session;
  other.context_path_ =
      absl::StrCat(folder, "/", site == "hub" ? "operator" : "holder-" + site, ".json");
  absl::StatusOr<Context> there = other.LoadContext();
  if (!there.ok()) {
    return base::Error(absl::StatusCode::kNotFound, "SITE_UNKNOWN",
                       absl::StrCat("no context names the front door of ", site,
                                    "; use a context file for that site with --context"));
  }
  if (there->site != site || there->trust_domain != context.trust_domain) {
    return base::Error(absl::StatusCode::kFailedPrecondition, "SITE_OTHER",
                       absl::StrCat("the context that should name the front door of ", site,
                                    " names another one; use a context file with --context"));
  }
  context.endpoint = there->endpoint;
  context.site = site;
  return context;
}

json EventJson(const audit::v1::LoggedEvent& logged) {
  json out = ToJson(logged.event());
  out["index"] = logged.index();
  return out;
}

std::vector<std::string> EventRow(const audit::v1::LoggedEvent& logged) {
  const audit::v1::Event& event = logged.event();
  return {absl::StrCat(logged.index()),
          TimeText(event.time().seconds()),
          event.actor(),
          event.type(),
          event.object(),
          event.reason().empty() ? event.outcome() : event.reason()};
}

// The event that the word names: a number of the log, or an id.
absl::StatusOr<EventName> EventArgument(const std::string& word) {
  EventName out;
  if (word.empty()) {
    return WrongUsage("EVENT_NEEDED", "say which event: its id, or its number in the log");
  }
  if (word.find_first_not_of("0123456789") != std::string::npos) {
    out.id = word;
  } else if (!absl::SimpleAtoi(word, &out.index)) {
    return WrongUsage("EVENT_INVALID", "a log has no event of such a number");
  }
  return out;
}

}  // namespace

void AddAuditCommands(CLI::App& app, Session& session) {
  CLI::App* audit =
      app.add_subcommand("audit", "what was done, and the proof that it was not changed");
  audit->require_subcommand(1);
  audit->footer("Example: oncomesh audit verify --site hub");
  struct Log {
    LogName name;
    std::unique_ptr<AuditStub> stub;
  };
  auto connect = [&session](const std::string& site) -> absl::StatusOr<Log> {
    ASSIGN_OR_RETURN(Context context, ContextAt(session, site));
    ASSIGN_OR_RETURN(auto channel, OpenFrontDoor(context));
    return Log{LogOf(context, session.context_path()), audit::v1::AuditService::NewStub(channel)};
  };
  {
    struct Args {
      std::string subject, site, type;
      int last = 100;
    };
    auto args = std::make_shared<Args>();
    CLI::App* command = audit->add_subcommand("show", "events, newest first");
    command->add_option("--subject", args->subject, "only what this person did");
    command->add_option("--type", args->type, "only events whose type begins so");
    command->add_option("--last", args->last, "how many")
        ->check(CLI::Range(1, 1'000'000))
        ->capture_default_str();
    command->add_option("--site", args->site, "hub or a node; without it, the context's own")
        ->type_name(kNameOfSite);
    command->footer("Example: oncomesh audit show --subject researcher --last 20");
    OnRun(command, session, [args, connect, &session]() -> absl::StatusOr<int> {
      ASSIGN_OR_RETURN(Log log, connect(args->site));
      audit::v1::ListRequest request;
      if (!args->subject.empty()) request.set_actor("person:" + args->subject);
      request.set_type_prefix(args->type);
      request.set_page_size(std::min(args->last, 500));
      json events = json::array();
      std::vector<std::vector<std::string>> rows = {
          {"INDEX", "TIME", "ACTOR", "TYPE", "OBJECT", "OUTCOME"}};
      RETURN_IF_ERROR(ListEvents(*log.stub, request, [&](const audit::v1::LoggedEvent& event) {
        events.push_back(EventJson(event));
        rows.push_back(EventRow(event));
        return static_cast<int>(events.size()) < args->last;
      }));
      session.Print({{"events", events}}, Table(rows));
      return kDone;
    });
  }
  {
    struct Args {
      std::string event, site;
    };
    auto args = std::make_shared<Args>();
    CLI::App* command = audit->add_subcommand("prove", "that an event is in the log");
    command->add_option("EVENT", args->event, "its id, or its number in the log")->required();
    command->add_option("--site", args->site, "hub or a node; without it, the context's own")
        ->type_name(kNameOfSite);
    command->footer("Example: oncomesh audit prove 17");
    OnRun(command, session, [args, connect, &session]() -> absl::StatusOr<int> {
      ASSIGN_OR_RETURN(EventName event, EventArgument(args->event));
      ASSIGN_OR_RETURN(Log log, connect(args->site));
      ASSIGN_OR_RETURN(ProvedEvent proved, ProveEvent(*log.stub, log.name, event));
      const audit::v1::ProveResponse& response = proved.shown;
      json hashes = json::array();
      for (const std::string& hash : response.proof())
        hashes.push_back(absl::BytesToHexString(hash));
      session.Print({{"event", EventJson(response.event())},
                     {"leaf", response.leaf()},
                     {"proof", hashes},
                     {"checkpoint", response.checkpoint()},
                     {"verified", true}},
                    absl::StrCat("event ", response.event().index(), " is in the log of ",
                                 proved.checkpoint.size, " events that ", proved.checkpoint.origin,
                                 " has signed\n", response.leaf(), "\n"));
      return kDone;
    });
  }
  {
    auto site = std::make_shared<std::string>();
    CLI::App* command = audit->add_subcommand(
        "verify", "the whole log, and that it continues what was seen before");
    command->add_option("--site", *site, "hub or a node; without it, the context's own")
        ->type_name(kNameOfSite);
    command->footer("Example: oncomesh audit verify --site hub");
    OnRun(command, session, [site, connect, &session]() -> absl::StatusOr<int> {
      ASSIGN_OR_RETURN(Log log, connect(*site));
      ASSIGN_OR_RETURN(VerifiedLog verified, VerifyLog(*log.stub, log.name, session));
      const std::string root = ledger::Hex(verified.checkpoint.root);
      session.Print(
          {{"origin", verified.checkpoint.origin},
           {"size", verified.checkpoint.size},
           {"root", root},
           {"seenBefore", verified.earlier},
           {"eventsRead", verified.read},
           {"verified", true}},
          absl::StrCat(
              verified.checkpoint.origin, ": ", verified.checkpoint.size, " events, root ", root,
              ", signature genuine",
              verified.earlier > 0
                  ? absl::StrCat(", continues the ", verified.earlier, " events seen before")
                  : "",
              verified.read ? "" : "; by their hashes, for the events are not yours to read",
              "\n"));
      return kDone;
    });
  }
}

}  // namespace oncomesh::cli
