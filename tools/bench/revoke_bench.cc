// link: oncomesh::bench oncomesh::rpc nlohmann_json::nlohmann_json
// SPDX-License-Identifier: Apache-2.0
// From the call that revokes a permit to the moment from which every site refuses it, on a whole
// mesh of real processes, against one plain call to each node. What is asked at a node is its
// access service; at the hub it is training, which keeps what it knows of permits for a moment.
#include <grpcpp/grpcpp.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "libs/base/error.h"
#include "libs/base/files.h"
#include "libs/base/random.h"
#include "libs/rpc/channel.h"
#include "libs/rpc/identity.h"
#include "libs/rpc/status.h"
#include "oncomesh/access/v1/access.grpc.pb.h"
#include "oncomesh/access/v1/people.grpc.pb.h"
#include "oncomesh/training/v1/training.grpc.pb.h"
#include "tools/bench/bench.h"

namespace oncomesh {
namespace {

using namespace bench;  // NOLINT(google-build-using-namespace): a program of its own
using nlohmann::json;

constexpr char kUsage[] =
    "usage: revoke_bench [--times=N] [--nodes=LIST] [--folder=FOLDER]\n"
    "\n"
    "  --times   permits that are issued and revoked (5)\n"
    "  --nodes   names of the nodes, by comma (north,south,west)\n"
    "  --folder  where the mesh lies (/tmp)\n"
    "\n"
    "example: revoke_bench --times=20\n";

template <typename Stub, typename Request, typename Response>
absl::StatusOr<Response> Call(Stub& stub,
                              grpc::Status (Stub::*method)(grpc::ClientContext*, const Request&,
                                                           Response*),
                              const Request& request, const std::string& permit = "") {
  grpc::ClientContext context;
  context.set_wait_for_ready(true);
  rpc::SetDeadline(context, absl::Seconds(30));
  if (!permit.empty()) context.AddMetadata(rpc::kPermitKey, permit);
  Response response;
  absl::Status status = rpc::FromGrpc((stub.*method)(&context, request, &response));
  if (!status.ok()) return status;
  return response;
}

// A mesh of its own, with the people that `oncomesh up` makes.
class Mesh {
 public:
  Mesh(const std::string& folder, const std::vector<std::string>& nodes)
      : program_(Self().substr(0, Self().rfind('/')) + "/../oncomesh"),
        folder_(folder + "/mesh"),
        nodes_(nodes) {
    OnFail([this] { Down(); });
    Run({program_, "--quiet", "-o", "json", "up", "--dir", folder_, "--nodes",
         absl::StrJoin(nodes, ","), "--detach"});
  }
  ~Mesh() { Down(); }
  Mesh(const Mesh&) = delete;
  Mesh& operator=(const Mesh&) = delete;

  // A small data set of phantoms at every node, published: a permit is for something.
  void Publish(const std::string& studies) {
    Run({program_, "--quiet", "synth", "--out", studies, "--sites", absl::StrJoin(nodes_, ","),
         "--patients", "5", "--seed", "1", "--modality", "PT"});
    for (const std::string& node : nodes_) {
      const std::string holder = "holder-" + node;
      Command(holder, {"ingest", studies + "/" + node});
      Command(holder, {"dataset", "create", "bench", "--title", "For a benchmark", "--where",
                       "modality = \"PT\"", "--duo", "DUO:0000042"});
      Command(holder, {"dataset", "publish", "bench"});
    }
  }

  // A channel in the name of a person, through the front door of their site.
  std::shared_ptr<grpc::Channel> As(const std::string& person) {
    const std::string contexts = folder_ + "/contexts/";
    const json context = json::parse(Must(base::ReadFile(contexts + person + ".json")));
    const std::string endpoint = context.at("endpoint"),
                      ca = contexts + std::string(context.at("caFile")),
                      uri = rpc::FrontDoorUri(std::string(context.at("trustDomain")),
                                              std::string(context.at("site")));
    const std::string secret = contexts + std::string(context.at("credentialFile"));
    auto stub =
        access::v1::PeopleService::NewStub(Must(rpc::ConnectFrontDoor(endpoint, ca, uri, "")));
    access::v1::IssueTokenRequest request;
    request.set_credential(std::string(absl::StripAsciiWhitespace(Must(base::ReadFile(secret)))));
    auto issued = Must(Call(*stub, &access::v1::PeopleService::Stub::IssueToken, request));
    return Must(rpc::ConnectFrontDoor(endpoint, ca, uri, issued.token()));
  }

  // A command of the program; its document.
  json Command(const std::string& person, std::vector<std::string> words) {
    setenv("ONCOMESH_CONTEXT", (folder_ + "/contexts/" + person + ".json").c_str(), 1);
    words.insert(words.begin(), {program_, "--quiet", "-o", "json"});
    return json::parse(Run(words).out);
  }

  // A permit for a data set of every node, asked for and decided on.
  struct Permit {
    std::string id, jws;
  };
  Permit Issue() {
    std::vector<std::string> datasets;
    for (const std::string& node : nodes_) {
      datasets.push_back("nodes/" + node + "/datasets/bench/versions/1");
    }
    const json request = Command(
        "researcher",
        {"access", "request", "--datasets", absl::StrJoin(datasets, ","), "--purpose",
         "DUO:0000006", "--title", "A benchmark", "--operations", "count,train", "--until",
         absl::FormatTime("%Y-%m-%d", absl::Now() + absl::Hours(24 * 30), absl::UTCTimeZone())});
    const std::string id = request.at("id");
    for (const std::string& node : nodes_) {
      Command("holder-" + node, {"access", "decide", id, "--approve", "--reason", "bench"});
    }
    const json decided =
        Command("committee", {"access", "decide", id, "--approve", "--reason", "bench"});
    Permit out;
    out.id = decided.at("permitId");
    out.jws = Command("researcher", {"permit", "export", out.id}).at("jws");
    return out;
  }

 private:
  void Down() {
    if (std::exchange(down_, true)) return;
    Run({program_, "--quiet", "down", "--dir", folder_});
  }

  bool down_ = false;
  const std::string program_;
  const std::string folder_;
  const std::vector<std::string> nodes_;
};

int Main(int argc, char** argv) {
  setenv("GRPC_VERBOSITY", "NONE", 0);
  rpc::AllowOnlyTls13();
  bench::IgnoreLockCycles();
  Options options(argc, argv, kUsage);
  const int times = options.Int("times", 5);
  const std::vector<std::string> nodes =
      absl::StrSplit(options.Text("nodes", "north,south,west"), ',');
  const std::string folder = options.Text("folder", "/tmp");
  options.Done();

  const Scratch scratch(folder);
  Mesh mesh(scratch.path(), nodes);
  mesh.Publish(scratch / "studies");
  using AccessStub = access::v1::AccessService::Stub;
  using PeopleStub = access::v1::PeopleService::Stub;
  using TrainingStub = training::v1::TrainingService::Stub;
  const auto committee = access::v1::AccessService::NewStub(mesh.As("committee"));
  const auto researcher = training::v1::TrainingService::NewStub(mesh.As("researcher"));
  std::vector<std::unique_ptr<AccessStub>> doors;
  std::vector<std::unique_ptr<PeopleStub>> people;
  for (const std::string& node : nodes) {
    const auto channel = mesh.As("holder-" + node);
    doors.push_back(access::v1::AccessService::NewStub(channel));
    people.push_back(access::v1::PeopleService::NewStub(channel));
  }
  // The reason with which a site refuses the permit; empty when it does not for the permit's sake.
  auto at_node = [&](size_t node, const Mesh::Permit& permit) {
    access::v1::VerifyPermitRequest request;
    request.set_jws(permit.jws);
    const auto answer = Call(*doors[node], &AccessStub::VerifyPermit, request);
    return answer.ok() ? "" : base::ReasonOf(answer.status());
  };
  auto at_training = [&](const Mesh::Permit& permit) {
    training::v1::SubmitRunRequest request;  // without a plan: with a good permit it is invalid
    request.set_request_id(base::NewUuid());
    return base::ReasonOf(
        Call(*researcher, &TrainingStub::SubmitRun, request, permit.jws).status());
  };

  std::vector<double> all, answered, training_too, floors, ratios;
  for (int i = 0; i < times; ++i) {
    const Mesh::Permit permit = mesh.Issue();
    const double floor_start = Now();
    for (const auto& stub : people) {
      Must(Call(*stub, &PeopleStub::WhoAmI, access::v1::WhoAmIRequest()));
    }
    const double floor = (Now() - floor_start) * 1e3;
    for (size_t node = 0; node < nodes.size(); ++node) {
      const std::string reason = at_node(node, permit);
      if (!reason.empty()) Fail("a good permit is refused at " + nodes[node] + ": " + reason);
    }
    if (at_training(permit) == "PERMIT_REVOKED") Fail("a good permit is refused by training");

    std::vector<double> refused(nodes.size() + 1);
    std::vector<std::thread> watchers;
    const double start = Now();
    for (size_t site = 0; site < refused.size(); ++site) {
      watchers.emplace_back([&, site] {
        while ((site < nodes.size() ? at_node(site, permit) : at_training(permit)) !=
               "PERMIT_REVOKED") {
          if (Now() - start > 30) Fail("a revoked permit is still good after 30 s");
          usleep(2000);
        }
        refused[site] = (Now() - start) * 1e3;
      });
    }
    access::v1::RevokePermitRequest request;
    request.set_id(permit.id);
    request.set_reason("bench");
    Must(Call(*committee, &AccessStub::RevokePermit, request));
    answered.push_back((Now() - start) * 1e3);
    for (std::thread& watcher : watchers) watcher.join();
    all.push_back(*std::max_element(refused.begin(), refused.end() - 1));
    training_too.push_back(std::max(all.back(), refused.back()));
    floors.push_back(floor);
    ratios.push_back(all.back() / floor);
  }
  std::printf("floor: a plain call to each of %zu nodes, one after the other: %s ms; %d times\n",
              nodes.size(), Text(SpreadOf(floors), 1).c_str(), times);
  std::printf("the call that revokes is answered after %s ms\n",
              Text(SpreadOf(answered), 0).c_str());
  const double worst = *std::max_element(all.begin(), all.end());
  const double worst_too = *std::max_element(training_too.begin(), training_too.end());
  Row("revoke_bench", absl::StrCat("revoke to refused at all of ", nodes.size(), " nodes"),
      absl::StrFormat("%s ms, worst %.0f ms; %s× the floor", Text(SpreadOf(all), 0), worst,
                      Text(SpreadOf(ratios), 1)),
      "< 1 s", worst < 1000);
  Row("revoke_bench", "the same, and by the hub's training service, which keeps trust for 0.25 s",
      absl::StrFormat("%s ms, worst %.0f ms", Text(SpreadOf(training_too), 0), worst_too), "< 1 s",
      worst_too < 1000);
  return 0;
}

}  // namespace
}  // namespace oncomesh

int main(int argc, char** argv) { return oncomesh::Main(argc, argv); }
