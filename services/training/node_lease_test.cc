// SPDX-License-Identifier: Apache-2.0
// What ends a node's task, and what does not: a permit that is revoked, a hub that is slow or
// silent, an answer that comes late, a clock that is late.
#include <atomic>
#include <set>
#include <thread>

#include "absl/functional/function_ref.h"
#include "absl/time/clock.h"
#include "services/training/node_fixture.h"

namespace oncomesh::training {
namespace {

using absl::StatusCode;

TEST_CASE(
    "node: what was trained does not leave once the permit is revoked, and waits while the "
    "node's view of it is old") {
  for (bool revoke : {true, false}) {
    CAPTURE(revoke);
    HubFixture hub;
    NodeFixture node(hub, "north");
    node.Allow();
    auto good = node.fake.act;
    int turns = 0;
    node.fake.act = [&](const TrainerJob& job) {
      if (revoke) {
        for (int i = 1; i < 9; ++i) node.revoked.insert(absl::StrCat("permit-", i));
      } else {
        node.trust_age = absl::Hours(2);
        node.on_trust = [&] {
          if (++turns > 3) node.trust_age = absl::ZeroDuration();
        };
      }
      return good(job);
    };
    v1::Run run = hub.Submit(node.Plan(), {"north"});
    CHECK(node.Work(run.name()) == (revoke ? "PERMIT_REVOKED" : ""));
    CHECK(node.fake.runs == 1);
    CHECK((turns > 3) == !revoke);
  }
}

TEST_CASE("node: a trainer that runs is stopped when its permit is revoked, by the site alone") {
  HubFixture hub;
  PatientRunner runner;
  NodeFixture node(hub, "north", &runner);
  node.Allow();
  runner.begun = [&](absl::FunctionRef<bool()> go_on) {
    CHECK(go_on());
    for (int i = 1; i < 9; ++i) node.revoked.insert(absl::StrCat("permit-", i));
    hub.clock.Advance(absl::Seconds(2));  // long before the lease is renewed
  };
  v1::Run run = hub.Submit(node.Plan(), {"north"});
  CHECK(node.Work(run.name()) == "PERMIT_REVOKED");
  CHECK(node.events == std::vector<std::string>{"STARTED", "REFUSED PERMIT_REVOKED"});
  CHECK(node.history->List()[0].state() == v1::NodeTask::STATE_REFUSED);
}

TEST_CASE("node: a hub that does not answer keeps nobody from watching the trainer") {
  HubFixture hub;
  PatientRunner runner;
  NodeFixture node(hub, "north", &runner);
  node.Allow();
  std::string run;
  std::atomic<bool> asked{false}, answered{false};
  node.client.on_renew = [&] {
    asked = true;
    for (int i = 0; i < 1000 && !answered; ++i) absl::SleepFor(absl::Milliseconds(10));
  };
  runner.begun = [&](absl::FunctionRef<bool()> go_on) {
    hub.clock.Advance(absl::Seconds(30));
    for (int i = 0; i < 500 && !asked; ++i) absl::SleepFor(absl::Milliseconds(10));
    CHECK(asked);
    const absl::Time before = absl::Now();
    for (int i = 0; i < 100; ++i) CHECK(go_on());
    CHECK(absl::Now() - before < absl::Seconds(2));
    // The answer, at last: nobody wants this any more.
    REQUIRE_OK(hub.runs->Cancel(hub.Ana(""), run));
    answered = true;
  };
  run = hub.Submit(node.Plan(), {"north"}).name();
  REQUIRE_OK(node.worker->RunOnce());
  CHECK(asked);
  CHECK(node.history->List()[0].state() == v1::NodeTask::STATE_WITHDRAWN);
  CHECK(node.history->List()[0].reason() == "ROUND_CLOSED");
}

TEST_CASE("node: a result that was taken is done, though the answer came after the round") {
  for (const int rounds : {1, 2}) {  // the run has ended, or the next round is open
    CAPTURE(rounds);
    HubFixture hub;
    NodeFixture node(hub, "north");
    node.Allow();
    v1::Plan plan = node.Plan(rounds);
    if (rounds == 1) plan.mutable_evaluate()->set_held_out(0.5);
    v1::Run run = hub.Submit(plan, {"north"});
    for (int round = 0; round < 2; ++round) {
      node.client.answers_to_lose = 1;
      CHECK(node.Work(run.name()).empty());
      CHECK(node.client.answers_to_lose == 0);
    }
    CHECK(hub.Get(run.name()).state() == v1::Run::STATE_SUCCEEDED);
    CHECK(node.events == std::vector<std::string>{"STARTED", "DONE", "STARTED", "DONE"});
    for (const v1::NodeTask& task : node.history->List()) {
      CHECK(task.state() == v1::NodeTask::STATE_DONE);
    }
  }
}

TEST_CASE("node: with a clock that is late it tries again, and stays in the run") {
  HubFixture hub;
  NodeFixture node(hub, "north");
  node.Allow();
  // The permit began an hour ago: for this clock it begins in two minutes.
  const absl::Duration late = absl::Minutes(62);
  base::FakeClock behind(hub.clock.Now() - late);
  node.clock = &behind;
  node.trust_age = late;
  node.Start();
  v1::Run run = hub.Submit(node.Plan(), {"north"});
  CHECK(node.Work(run.name()) == "PERMIT_NOT_YET_VALID");
  CHECK(hub.Get(run.name()).rounds(0).contributions(0).state() == v1::Contribution::STATE_PENDING);
  // A minute before it begins is near enough.
  behind.Advance(absl::Minutes(1));
  node.trust_age -= absl::Minutes(1);
  hub.clock.Advance(absl::Seconds(5));
  node.trust_age += absl::Seconds(5);
  node.Work(run.name());
  CHECK(hub.Get(run.name()).state() == v1::Run::STATE_SUCCEEDED);
}

TEST_CASE("node: a hub that answers sooner than it was asked to is not asked without pause") {
  HubFixture hub;
  NodeFixture node(hub, "north");
  node.wait = absl::Seconds(20);
  node.Start();
  std::thread worker([&] { node.worker->RunUntilStopped(); });
  absl::SleepFor(absl::Milliseconds(300));
  node.stop.Stop();
  worker.join();
  CHECK(node.client.acquires >= 1);
  CHECK(node.client.acquires <= 2);  // the hub said: after a second
}

}  // namespace
}  // namespace oncomesh::training
