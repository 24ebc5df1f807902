// SPDX-License-Identifier: Apache-2.0
// What runs cost the hub: memory for an answer, disk for the models they start from.
#include <malloc.h>

#include <fstream>

#include "services/training/hub_fixture.h"

namespace oncomesh::training {
namespace {

TEST_CASE("run: a part of it costs what a message carries, however many rounds there are") {
  HubFixture hub;
  v1::Run run = hub.Submit(HubFixture::Plan(v1::STRATEGY_FEDAVG, 9, {"north"}), {"north"});
  REQUIRE_OK(hub.store->ChangeRun(run.name(), [&](RunRecord& record, Additions&) {
    record.tasks.clear();
    return absl::OkStatus();
  }));
  for (int round = 1; round <= 150; ++round) {
    REQUIRE_OK(hub.store->ChangeRun(run.name(), [&](RunRecord& record, Additions& additions) {
      v1::Round closed = record.round;
      closed.set_state(v1::Round::STATE_CLOSED);
      closed.set_manifest_sha256(std::string(300 << 10, 'f'));
      additions.closed = closed;
      additions.manifest_jws = "jws";
      record.round.set_number(round + 1);
      return absl::OkStatus();
    }));
  }
  // The most this process had resident since the mark, in kB.
  const auto most = [](bool mark) -> long {
    if (mark) {
      malloc_trim(0);
      std::ofstream("/proc/self/clear_refs") << "5";
    }
    std::ifstream status("/proc/self/status");
    for (std::string word; status >> word;) {
      long kilobytes = 0;
      if (word == "VmHWM:" && status >> kilobytes) return kilobytes;
    }
    return 0;
  };
  const long before = most(true);
  int next = 0;
  REQUIRE_VALUE(v1::Run part, hub.runs->Get(hub.Ana(""), run.name(), 0, next));
  CHECK(next == 4);
  CHECK(part.rounds_size() == 3);
  CHECK(most(false) - before < (25 << 10));  // all rounds would be 60 MB
}

TEST_CASE("run: the zeros it starts from go when no run needs them, and nothing else does") {
  HubFixture hub;
  const auto there = [&](const std::string& sha256) {
    REQUIRE_VALUE(bool exists, hub.objects->Exists(sha256));
    return exists;
  };
  v1::Plan plan = HubFixture::Plan(v1::STRATEGY_FEDAVG, 2, {"north"});
  v1::Run first = hub.Submit(plan, {"north"}), second = hub.Submit(plan, {"north"});
  const std::string zeros = first.model_sha256();
  REQUIRE(second.model_sha256() == zeros);
  REQUIRE_OK(hub.runs->Cancel(hub.Ana(""), first.name()));
  REQUIRE_OK(hub.closer->Sweep());
  CHECK(there(zeros));  // the other run begins from them
  hub.Restart();
  CHECK(there(zeros));
  v1::Task task = hub.Acquire("north");
  const std::string update = HubFixture::Update({1, 2});
  REQUIRE_OK(hub.HandIn("north", HubFixture::HeaderOf(task, update, 1), update));
  REQUIRE_OK(hub.closer->Advance());
  REQUIRE_OK(hub.closer->Sweep());
  CHECK_FALSE(there(zeros));  // a round has come out of them
  CHECK(there(hub.Get(second.name()).model_sha256()));

  // Cancelled before any round; submitted while a sweep runs; the same bytes in the registry.
  v1::Run third = hub.Submit(plan, {"north"});
  CHECK(there(zeros));
  REQUIRE_OK(hub.runs->Cancel(hub.Ana(""), second.name()));
  REQUIRE_OK(hub.runs->Cancel(hub.Ana(""), third.name()));
  {
    StartingModels::Hold hold;
    REQUIRE_OK(hub.starting->Take(zeros, hold));
    REQUIRE_OK(hub.closer->Sweep());
    CHECK(there(zeros));
  }
  REQUIRE_OK(hub.closer->Sweep());
  CHECK_FALSE(there(zeros));
  plan.set_rounds(1);
  v1::Run fourth = hub.Submit(plan, {"north"});
  task = hub.Acquire("north");
  const std::string nothing = HubFixture::Update({0, 0});
  REQUIRE_OK(hub.HandIn("north", HubFixture::HeaderOf(task, nothing, 1), nothing));
  REQUIRE_OK(hub.closer->Advance());
  REQUIRE(hub.Get(fourth.name()).model_sha256() == zeros);
  REQUIRE_OK(hub.closer->Sweep());
  CHECK(there(zeros));
}

}  // namespace
}  // namespace oncomesh::training
