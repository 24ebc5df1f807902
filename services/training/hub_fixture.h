// SPDX-License-Identifier: Apache-2.0
// A hub without RPC for tests: real store, spool and objects in a folder, a clock that stands
// still, a permit office of its own. Restart() is what is left after kill −9: the folder.
#pragma once

#include <catch2/catch.hpp>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "libs/base/clock.h"
#include "libs/base/files.h"
#include "libs/base/random.h"
#include "libs/crypto/jws.h"
#include "libs/crypto/keys.h"
#include "libs/federated/plan.h"
#include "libs/federated/safetensors.h"
#include "libs/objects/object_store.h"
#include "libs/permit/permit.h"
#include "libs/store/test_database.h"
#include "libs/testing/status_matchers.h"
#include "libs/testing/temporary_folder.h"
#include "services/training/aggregation.h"
#include "services/training/round_closer.h"
#include "services/training/run_desk.h"
#include "services/training/task_desk.h"

namespace oncomesh::training {

inline constexpr char kTrainerDigest[] =
    "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";

class HubFixture {
 public:
  HubFixture() : permit_key_(crypto::PrivateKey::Generate(crypto::KeyType::kEd25519)) {
    trust.issuer = "test";
    trust.keys.emplace("k", permit_key_.Public());
    trust.epoch = 3;
    trust.max_age = absl::Hours(1);
    Restart();
  }

  // Drops everything in memory and opens the folder again.
  void Restart() {
    closer.reset();
    tasks.reset();
    runs.reset();
    starting.reset();
    spool.reset();
    objects.reset();
    store.reset();
    absl::StatusOr<std::unique_ptr<TrainingStore>> opened =
        TrainingStore::Open(store::TestDatabaseUrl(folder / "training.db"), "");
    REQUIRE_OK(opened);
    store = *std::move(opened);
    auto opened_objects = objects::OpenFolder(folder / "models");
    REQUIRE_OK(opened_objects);
    objects = *std::move(opened_objects);
    auto opened_spool = UpdateSpool::Open(folder / "updates");
    REQUIRE_OK(opened_spool);
    REQUIRE_OK(EmptyScratch(folder / "scratch"));
    spool = *std::move(opened_spool);
    auto loaded =
        crypto::PrivateKey::LoadOrGenerate(folder / "manifest.key", crypto::KeyType::kEd25519);
    REQUIRE_OK(loaded);
    key = std::make_unique<crypto::PrivateKey>(*std::move(loaded));
    keys = {{crypto::Thumbprint(key->Public()), key->Public()}};
    auto source = [this]() -> absl::StatusOr<permit::TrustState> {
      permit::TrustState out = trust;
      out.fetched = clock.Now();
      return out;
    };
    starting = std::make_unique<StartingModels>(*store, *objects);
    auto& random = base::SystemRandom::Get();
    runs = std::make_unique<RunDesk>(RunDesk::Deps{*store, *objects, clock, random, source, changes,
                                                   folder / "scratch", keys, *starting, 3});
    tasks = std::make_unique<TaskDesk>(
        TaskDesk::Deps{*store, *spool, *objects, clock, random, source, changes, LeaseRules()});
    closer = std::make_unique<RoundCloser>(RoundCloser::Deps{*store, *spool, *objects, clock,
                                                             random, changes, *starting, *key,
                                                             "oncomesh/test", folder / "scratch"});
    REQUIRE_OK(closer->Sweep());
  }

  // A permit for ana on the datasets "sarcoma" of these nodes.
  std::string Permit(const std::vector<std::string>& nodes,
                     std::vector<std::string> operations = {"train", "evaluate"},
                     int max_rounds = 0) {
    permit::Permit permit;
    permit.id = absl::StrCat("permit-", ++permits_);
    permit.issuer = "test";
    permit.people = {"ana"};
    for (const std::string& node : nodes) permit.datasets.push_back(Dataset(node));
    permit.purpose = "DUO:0000006";
    permit.operations = std::move(operations);
    permit.max_rounds = max_rounds;
    permit.not_before = clock.Now() - absl::Hours(1);
    permit.expires = clock.Now() + absl::Hours(24 * 30);
    permit.epoch = 3;
    permit.request = "req-1";
    last_permit = permit.id;
    return *permit::Sign(permit, permit_key_, "k");
  }
  static std::string Dataset(const std::string& node) {
    return absl::StrCat("nodes/", node, "/datasets/sarcoma/versions/1");
  }
  rpc::Caller Ana(const std::string& permit) {
    rpc::Caller caller;
    caller.kind = rpc::Caller::Kind::kPerson;
    caller.subject = "ana";
    caller.roles = {"researcher"};
    caller.permit = permit;
    return caller;
  }
  // A plan over `nodes` whose model is "w" of two elements.
  static v1::Plan Plan(v1::Strategy strategy, int rounds, const std::vector<std::string>& nodes) {
    v1::Plan plan;
    plan.set_name("test");
    plan.set_strategy(strategy);
    plan.set_rounds(rounds);
    for (const std::string& node : nodes) plan.add_datasets(Dataset(node));
    plan.mutable_trainer()->set_name("t");
    plan.mutable_trainer()->set_digest(kTrainerDigest);
    (*plan.mutable_model()->mutable_tensors())["w"].add_shape(2);
    plan.mutable_round_deadline()->set_seconds(600);
    plan.add_metrics("loss");
    return plan;
  }
  v1::Run Submit(const v1::Plan& plan, const std::vector<std::string>& nodes) {
    v1::SubmitRunRequest request;
    request.set_request_id(base::NewUuid());
    *request.mutable_plan() = plan;
    absl::StatusOr<v1::Run> run = runs->Submit(Ana(Permit(nodes)), request);
    REQUIRE_OK(run);
    return *run;
  }
  v1::Run Get(const std::string& run) {
    int next = 0;
    absl::StatusOr<v1::Run> out = runs->Get(Ana(""), run, 0, next);
    CHECK(next == 0);
    REQUIRE_OK(out);
    return *out;
  }
  // The task that the node gets; none when the answer has none.
  v1::Task Acquire(const std::string& node, const std::string& session = "session-1") {
    v1::AcquireTaskRequest request;
    request.set_session(session);
    absl::StatusOr<v1::AcquireTaskResponse> response = tasks->Acquire(node, request);
    REQUIRE_OK(response);
    return response->task();
  }
  static std::string Update(const std::vector<double>& w) {
    absl::StatusOr<std::string> bytes = federated::WriteTensors(
        {{{"w", federated::Dtype::kF64, {static_cast<int64_t>(w.size())}}, w}});
    REQUIRE_OK(bytes);
    return *bytes;
  }
  static v1::UploadHeader HeaderOf(const v1::Task& task, const std::string& update,
                                   int64_t examples) {
    v1::UploadHeader header;
    header.set_task(task.name());
    header.set_lease_token(task.lease_token());
    header.set_sha256(crypto::Sha256Hex(update));
    header.set_bytes(static_cast<int64_t>(update.size()));
    header.set_examples(examples);
    header.set_cases(3);
    (*header.mutable_metrics())["loss"] = 0.5 / static_cast<double>(examples);
    return header;
  }
  // Hands in the whole update; true when it was there already.
  absl::StatusOr<bool> HandIn(const std::string& node, const v1::UploadHeader& header,
                              const std::string& update) {
    absl::StatusOr<std::unique_ptr<TaskDesk::Submission>> submission = tasks->Begin(node, header);
    if (!submission.ok()) return submission.status();
    absl::Status status =
        (*submission)
            ->Append(absl::string_view(update).substr(static_cast<size_t>(header.offset())));
    if (!status.ok()) return status;
    return (*submission)->Finish();
  }
  std::vector<double> Model(const std::string& sha256, const std::string& tensor = "w") {
    absl::StatusOr<std::string> path = objects->LocalPath(sha256);
    REQUIRE_OK(path);
    absl::StatusOr<federated::TensorFile> file = federated::TensorFile::Open(*path);
    REQUIRE_OK(file);
    REQUIRE(file->Find(tensor) != nullptr);
    return *file->ReadAll(*file->Find(tensor));
  }

  testing::TemporaryFolder folder;
  base::FakeClock clock;
  ChangeSignal changes;
  permit::TrustState trust;
  std::string last_permit;
  std::unique_ptr<TrainingStore> store;
  std::unique_ptr<objects::ObjectStore> objects;
  std::unique_ptr<UpdateSpool> spool;
  std::unique_ptr<StartingModels> starting;
  std::unique_ptr<crypto::PrivateKey> key;
  crypto::KeySet keys;
  std::unique_ptr<RunDesk> runs;
  std::unique_ptr<TaskDesk> tasks;
  std::unique_ptr<RoundCloser> closer;

 private:
  crypto::PrivateKey permit_key_;
  int permits_ = 0;
};

}  // namespace oncomesh::training
