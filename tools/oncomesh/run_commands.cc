// SPDX-License-Identifier: Apache-2.0
#include "tools/oncomesh/run_commands.h"

#include <algorithm>
#include <cstdio>
#include <memory>
#include <nlohmann/json.hpp>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "absl/time/clock.h"
#include "libs/base/error.h"
#include "libs/base/files.h"
#include "libs/base/random.h"
#include "libs/base/status_macros.h"
#include "libs/crypto/digest.h"
#include "libs/federated/plan.h"
#include "oncomesh/training/v1/training.grpc.pb.h"
#include "tools/oncomesh/front_door.h"
#include "tools/oncomesh/names.h"
#include "tools/oncomesh/permit_argument.h"
#include "tools/oncomesh/proto_json.h"

namespace oncomesh::cli {
namespace {

using nlohmann::json;
using training::v1::Contribution;
using training::v1::Round;
using training::v1::Run;
using training::v1::TrainingService;
using Stub = TrainingService::Stub;

constexpr absl::Duration kWatchTime = absl::Hours(1);  // of one stream; a run may take days

template <typename Enum>
std::string StateName(const std::string& full, Enum) {
  return full.substr(full.find('_') + 1);
}
std::string Name(Run::State state) { return StateName(Run::State_Name(state), state); }
std::string Name(Round::State state) { return StateName(Round::State_Name(state), state); }
std::string Name(Round::Kind kind) { return StateName(Round::Kind_Name(kind), kind); }
std::string Name(Contribution::State state) {
  return StateName(Contribution::State_Name(state), state);
}

json MetricsJson(const google::protobuf::Map<std::string, double>& metrics) {
  json out = json::object();
  for (const auto& [name, value] : metrics) out[name] = value;
  return out;
}

// The form of the program's contract: state without prefix, contributors by name, model by digest.
json RunJson(const Run& run) {
  json rounds = json::array();
  for (const Round& round : run.rounds()) {
    json contributors = json::array(), dropped = json::array();
    json nodes = json::object();
    for (const Contribution& c : round.contributions()) {
      if (c.state() == Contribution::STATE_DONE) contributors.push_back(c.node());
      if (c.state() == Contribution::STATE_DROPPED)
        dropped.push_back({{"node", c.node()}, {"reason", c.reason()}});
      nodes[c.node()] = {{"state", Name(c.state())},
                         {"examples", c.examples()},
                         {"metrics", MetricsJson(c.metrics())}};
    }
    rounds.push_back({{"number", round.number()},
                      {"kind", Name(round.kind())},
                      {"state", Name(round.state())},
                      {"contributors", contributors},
                      {"dropped", dropped},
                      {"nodes", nodes},
                      {"examples", round.examples()},
                      {"metrics", MetricsJson(round.metrics())},
                      {"modelSha256", round.model_sha256()},
                      {"manifestSha256", round.manifest_sha256()}});
  }
  json out = {{"name", run.name()},
              {"title", run.plan().name()},
              {"state", Name(run.state())},
              {"rounds", rounds},
              {"permit", run.permit()},
              {"permitSha256", run.permit_sha256()},
              {"planSha256", run.plan_sha256()},
              {"modelSha256", run.model_sha256()},
              {"manifestSha256", run.manifest_sha256()}};
  if (!run.reason().empty()) out["reason"] = run.reason();
  if (!run.message().empty()) out["message"] = run.message();
  return out;
}

std::string RoundLine(const Round& round) {
  std::vector<std::string> metrics, contributors;
  for (const auto& [name, value] : round.metrics())
    metrics.push_back(absl::StrFormat("%s %.4f", name, value));
  std::sort(metrics.begin(), metrics.end());
  for (const Contribution& c : round.contributions()) {
    if (c.state() == Contribution::STATE_DONE) contributors.push_back(c.node());
    if (c.state() == Contribution::STATE_DROPPED)
      contributors.push_back(absl::StrCat(c.node(), " dropped: ", c.reason()));
  }
  return absl::StrFormat("round %3d  %-10s %-11s %s  %s", round.number(),
                         absl::AsciiStrToLower(Name(round.kind())),
                         absl::AsciiStrToLower(Name(round.state())),
                         absl::StrJoin(contributors, ", "), absl::StrJoin(metrics, ", "));
}

std::string RunText(const Run& run) {
  std::string out = absl::StrCat(
      "run      ", run.name(), "  ", run.plan().name(), "\nstate    ", Name(run.state()),
      run.reason().empty() ? "" : absl::StrCat(" (", run.reason(), ": ", run.message(), ")"),
      "\npermit   ", run.permit(), "\nmodel    ", run.model_sha256(), "\nmanifest ",
      run.manifest_sha256(), "\n");
  for (const Round& round : run.rounds()) absl::StrAppend(&out, RoundLine(round), "\n");
  return out;
}

// The exit status of a command that waited for a run to end; an error when it came to nothing.
absl::StatusOr<int> EndOf(const Run& run) {
  if (run.state() != Run::STATE_FAILED && run.state() != Run::STATE_CANCELLED) return kDone;
  if (run.state() == Run::STATE_CANCELLED) {
    return base::Error(absl::StatusCode::kCancelled, "RUN_CANCELLED", "the run was cancelled");
  }
  return base::Error(absl::StatusCode::kFailedPrecondition,
                     run.reason().empty() ? "RUN_FAILED" : run.reason(),
                     absl::StrCat("the run failed; see: oncomesh run show ", run.name()));
}

// Brings `run` to what `news` says: rounds that are there already are replaced, others added.
void TakeUp(Run& run, Run&& news) {
  auto rounds = std::move(*run.mutable_rounds());
  for (Round& round : *news.mutable_rounds()) {
    while (!rounds.empty() && rounds.rbegin()->number() >= round.number()) rounds.RemoveLast();
    *rounds.Add() = std::move(round);
  }
  run = std::move(news);
  *run.mutable_rounds() = std::move(rounds);
}

absl::StatusOr<Run> GetRun(Stub& stub, const std::string& name) {
  training::v1::GetRunRequest request;
  request.set_name(name);
  Run run;
  do {
    ASSIGN_OR_RETURN(auto response, Call(stub, &Stub::GetRun, request));
    TakeUp(run, std::move(*response.mutable_run()));
    request.set_from_round(response.next_round());
  } while (request.from_round() != 0);
  return run;
}

// Streams the model into `path`, checked against its digest before it appears under its name.
absl::Status Download(Stub& stub, const std::string& sha256, const std::string& path, bool force,
                      const Session& session) {
  grpc::ClientContext context;
  rpc::SetDeadline(context, absl::Hours(6));
  training::v1::DownloadModelRequest request;
  request.set_sha256(sha256);
  auto reader = stub.DownloadModel(&context, request);
  ASSIGN_OR_RETURN(base::AtomicFile file, base::AtomicFile::Create(path));
  crypto::Sha256 digest;
  training::v1::DownloadModelResponse part;
  bool finished = false;
  std::unique_ptr<Progress> progress;
  absl::Status written;
  while (written.ok() && reader->Read(&part)) {
    if (part.has_header()) {
      progress = std::make_unique<Progress>(session, "model", "bytes",
                                            static_cast<uint64_t>(part.header().bytes()));
    } else if (part.part_case() == training::v1::DownloadModelResponse::kChunk) {
      digest.Update(part.chunk());
      written = file.Append(part.chunk());
      if (progress != nullptr) progress->Advance(part.chunk().size());
    } else {
      finished = true;
    }
  }
  if (!written.ok()) context.TryCancel();
  absl::Status status = rpc::FromGrpc(reader->Finish());
  RETURN_IF_ERROR(written);
  RETURN_IF_ERROR(status);
  if (!finished || digest.FinishHex() != sha256) {
    return base::Error(absl::StatusCode::kDataLoss, "MODEL_DAMAGED",
                       "the model did not arrive whole; run the command again");
  }
  return file.Commit(force);
}

// Follows the run by one stream until that ends, into `last`; `closed`: rounds already told.
absl::Status Watch(Stub& stub, const std::string& name, const Session& session, Run& last,
                   int& closed, bool& away) {
  grpc::ClientContext context;
  rpc::SetDeadline(context, kWatchTime);
  training::v1::WatchRunRequest request;
  request.set_name(name);
  if (!last.rounds().empty()) request.set_from_round(last.rounds().rbegin()->number());
  auto reader = stub.WatchRun(&context, request);
  training::v1::WatchRunResponse response;
  while (reader->Read(&response)) {
    away = false;
    TakeUp(last, std::move(*response.mutable_run()));
    if (session.json()) {
      std::string line = RunJson(last).dump() + "\n";
      std::fwrite(line.data(), 1, line.size(), stdout);
      std::fflush(stdout);
      continue;
    }
    int number = 0;
    for (const Round& round : last.rounds()) {
      if (round.state() != Round::STATE_CLOSED && round.state() != Round::STATE_FAILED) continue;
      if (number++ < closed) continue;
      ++closed;
      std::printf("%s\n", RoundLine(round).c_str());
      std::fflush(stdout);
    }
  }
  return rpc::FromGrpc(reader->Finish());
}

// A run has a model of its own once a round that changes one has closed; before, there is the
// initial one.
bool HasModel(const Run& run) {
  return std::any_of(run.rounds().begin(), run.rounds().end(), [](const Round& round) {
    return round.state() == Round::STATE_CLOSED && round.number() > 0 &&
           !round.model_sha256().empty();
  });
}

}  // namespace

void AddRunCommands(CLI::App& app, Session& session) {
  CLI::App* run = app.add_subcommand("run", "federated training runs and their models");
  run->require_subcommand(1);
  run->footer("Example: oncomesh run submit plan.json --permit permit-…");
  auto connect = [&session]() -> absl::StatusOr<std::unique_ptr<Stub>> {
    ASSIGN_OR_RETURN(auto channel, OpenFrontDoor(session));
    return TrainingService::NewStub(channel);
  };
  {
    struct Args {
      std::string plan, permit, request_id;
    };
    auto args = std::make_shared<Args>();
    CLI::App* command = run->add_subcommand("submit", "start a run under a permit (researcher)");
    command->add_option("PLAN", args->plan, "the plan, JSON; see trainers/README.md for one")
        ->required();
    command->add_option("--permit", args->permit, "its id, or a file with the signed permit")
        ->required()
        ->type_name(kNameOfPermit);
    command->add_option("--request-id", args->request_id, "UUID that makes a repeat harmless");
    command->footer("Example: oncomesh run submit plan.json --permit permit-…");
    OnRun(command, session, [args, &session]() -> absl::StatusOr<int> {
      ASSIGN_OR_RETURN(std::string text, ReadNamedFile(args->plan, 1 << 20, "the plan"));
      training::v1::SubmitRunRequest request;
      ASSIGN_OR_RETURN(*request.mutable_plan(), federated::ParsePlan(text));
      request.set_request_id(args->request_id.empty() ? base::NewUuid() : args->request_id);
      ASSIGN_OR_RETURN(auto channel, OpenFrontDoor(session));
      ASSIGN_OR_RETURN(std::string permit, PermitArgument(channel, args->permit));
      auto stub = TrainingService::NewStub(channel);
      ASSIGN_OR_RETURN(auto response,
                       Call(*stub, &Stub::SubmitRun, request, absl::Seconds(30), permit));
      session.Print(RunJson(response.run()),
                    absl::StrCat(response.run().name(), "\nwatch it: oncomesh run watch ",
                                 response.run().name()));
      return kDone;
    });
  }
  {
    CLI::App* command = run->add_subcommand("list", "runs, newest first");
    command->footer("Example: oncomesh run list");
    OnRun(command, session, [connect, &session]() -> absl::StatusOr<int> {
      ASSIGN_OR_RETURN(auto stub, connect());
      json all = json::array();
      std::vector<std::vector<std::string>> rows = {{"RUN", "STATE", "STARTED", "TITLE"}};
      training::v1::ListRunsRequest request;
      do {
        ASSIGN_OR_RETURN(auto response, Call(*stub, &Stub::ListRuns, request));
        for (const Run& entry : response.runs()) {
          all.push_back(RunJson(entry));
          rows.push_back({entry.name(), Name(entry.state()),
                          TimeText(entry.create_time().seconds()), entry.plan().name()});
        }
        request.set_page_token(response.next_page_token());
      } while (!request.page_token().empty());
      session.Print({{"runs", all}}, Table(rows));
      return kDone;
    });
  }
  {
    auto name = std::make_shared<std::string>();
    CLI::App* command = run->add_subcommand("show", "a run with its rounds");
    command->add_option("RUN", *name)->required()->type_name(kNameOfRun);
    command->footer("Example: oncomesh run show run-…");
    OnRun(command, session, [name, connect, &session]() -> absl::StatusOr<int> {
      ASSIGN_OR_RETURN(auto stub, connect());
      ASSIGN_OR_RETURN(Run shown, GetRun(*stub, *name));
      session.Print(RunJson(shown), RunText(shown));
      return kDone;
    });
  }
  {
    auto name = std::make_shared<std::string>();
    CLI::App* command = run->add_subcommand("watch", "follow a run to its end");
    command->add_option("RUN", *name)->required()->type_name(kNameOfRun);
    command->footer("Example: oncomesh run watch run-…");
    OnRun(command, session, [name, connect, &session]() -> absl::StatusOr<int> {
      int closed = 0;
      Run last;
      bool away = false;
      while (true) {
        // Anew each time: a token does not last as long as a run may.
        absl::StatusOr<std::unique_ptr<Stub>> connected = connect();
        absl::Status status = connected.status();
        if (status.ok()) status = Watch(**connected, *name, session, last, closed, away);
        if (last.state() != Run::STATE_RUNNING && last.state() != Run::STATE_UNSPECIFIED) {
          if (!session.json()) std::printf("%s\n", Name(last.state()).c_str());
          return EndOf(last);
        }
        // A watch can end before the run: the stream's own deadline, or a hub that is started
        // again.
        if (!status.ok() && status.code() != absl::StatusCode::kDeadlineExceeded &&
            status.code() != absl::StatusCode::kUnavailable) {
          return status;
        }
        if (!status.ok() && status.code() == absl::StatusCode::kUnavailable && !away) {
          session.Say(
              "the hub does not answer; waiting for it (Ctrl-C ends the watch, not the run)");
          away = true;
        }
        absl::SleepFor(absl::Seconds(1));
      }
    });
  }
  {
    auto name = std::make_shared<std::string>();
    CLI::App* command = run->add_subcommand("cancel", "end a run");
    command->add_option("RUN", *name)->required()->type_name(kNameOfRun);
    command->footer("Example: oncomesh run cancel run-…");
    OnRun(command, session, [name, connect, &session]() -> absl::StatusOr<int> {
      ASSIGN_OR_RETURN(auto stub, connect());
      training::v1::CancelRunRequest request;
      request.set_name(*name);
      ASSIGN_OR_RETURN(auto response, Call(*stub, &Stub::CancelRun, request));
      session.Print(RunJson(response.run()), RunText(response.run()));
      return kDone;
    });
  }
  {
    struct Args {
      std::string name, out;
      bool force = false;
    };
    auto args = std::make_shared<Args>();
    CLI::App* command = run->add_subcommand("model", "fetch the model of a run (safetensors)");
    command->add_option("RUN", args->name)->required()->type_name(kNameOfRun);
    command->add_option("--out", args->out, "file to write")->required();
    command->add_flag("--force", args->force, "replace a file that is there");
    command->footer("Example: oncomesh run model run-… --out model.safetensors");
    OnRun(command, session, [args, connect, &session]() -> absl::StatusOr<int> {
      ASSIGN_OR_RETURN(auto stub, connect());
      ASSIGN_OR_RETURN(Run shown, GetRun(*stub, args->name));
      if (shown.model_sha256().empty() || !HasModel(shown)) {
        return base::Error(
            absl::StatusCode::kFailedPrecondition, "NO_MODEL_YET",
            "no round of the run has closed yet; see: oncomesh run watch " + args->name);
      }
      RETURN_IF_ERROR(Download(*stub, shown.model_sha256(), args->out, args->force, session));
      training::v1::GetModelRequest request;
      request.set_sha256(shown.model_sha256());
      ASSIGN_OR_RETURN(auto model, Call(*stub, &Stub::GetModel, request));
      json lineage = ToJson(model.model());
      session.Print({{"file", args->out}, {"sha256", shown.model_sha256()}, {"lineage", lineage}},
                    absl::StrCat("model ", shown.model_sha256(), "\nof ", shown.name(), ", round ",
                                 model.model().round(), ", trained by ",
                                 absl::StrJoin(model.model().contributors(), ", "), "\nwritten to ",
                                 args->out));
      return kDone;
    });
  }
}

}  // namespace oncomesh::cli
