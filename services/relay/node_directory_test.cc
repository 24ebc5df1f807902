// SPDX-License-Identifier: Apache-2.0
// Which nodes are here and which are kept out, asked from many threads and over a restart.
#include "services/relay/node_directory.h"

#include <atomic>
#include <catch2/catch.hpp>
#include <condition_variable>
#include <deque>
#include <functional>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "libs/base/files.h"
#include "libs/base/log.h"
#include "libs/crypto/keys.h"
#include "libs/crypto/x509.h"
#include "libs/testing/status_matchers.h"
#include "libs/testing/temporary_folder.h"
#include "services/relay/hub_link.h"
#include "services/relay/hub_relay.h"
#include "services/relay/testing/pipe.h"

namespace oncomesh::relay {

using testing::PipeLine;
using testing::Scheduler;

// A loop with a thread of its own.
class ThreadLoop final : public Loop {
 public:
  ThreadLoop() : thread_([this] { Run(); }) {}
  ~ThreadLoop() override {
    {
      std::lock_guard<std::mutex> lock(mutex_);
      stopped_ = true;
    }
    changed_.notify_one();
    thread_.join();
  }
  bool Post(std::function<void()> task) override {
    std::lock_guard<std::mutex> lock(mutex_);
    if (stopped_) return false;
    tasks_.push_back(std::move(task));
    changed_.notify_one();
    return true;
  }
  std::unique_ptr<Timer> After(absl::Duration, std::function<void()>) override {
    return std::make_unique<Timer>();
  }

 private:
  void Run() {
    std::unique_lock<std::mutex> lock(mutex_);
    while (true) {
      changed_.wait(lock, [&] { return stopped_ || !tasks_.empty(); });
      if (tasks_.empty()) return;
      auto task = std::move(tasks_.front());
      tasks_.pop_front();
      lock.unlock();
      task();
      task = nullptr;
      lock.lock();
    }
  }
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<std::function<void()>> tasks_;
  bool stopped_ = false;
  std::thread thread_;
};

TEST_CASE("directory: asked and told from many threads while nodes come and go") {
  base::SetLogLevel(base::Level::kError);
  oncomesh::testing::TemporaryFolder folder;
  base::FakeClock clock;
  ThreadLoop loop;
  Routes routes;
  NodeDirectory nodes({loop, clock, base::SystemRandom::Get(), {}, folder / "suspended.json"});
  HubRelay hub("d", nodes, routes);
  Scheduler scheduler(13);  // stepped on the loop's thread only
  std::vector<std::thread> threads;
  threads.emplace_back([&] {
    for (int i = 0; i < 200; ++i) {
      std::shared_ptr<HubLink> link;
      std::shared_ptr<PipeLine> wire;
      RunOn(loop, [&] {
        wire = std::make_shared<PipeLine>(
            scheduler, [&](std::shared_ptr<IncomingCall> call) { hub.OnCall(std::move(call)); },
            std::vector<std::string>{i % 2 == 0 ? "spiffe://d/node/lisbon/relay"
                                                : "spiffe://d/node/porto/relay"});
        link = std::make_shared<HubLink>(HubLink::Deps{
            scheduler, Backoff(absl::Seconds(1), absl::Seconds(5), base::SystemRandom::Get()), "1",
            [&]() -> std::shared_ptr<Line> { return wire; },
            [](std::shared_ptr<IncomingCall> call) { Refuse(call, absl::InternalError("no")); }});
        link->Start();
        scheduler.Run();
      });
      RunOn(loop, [&] {
        link->Stop();
        scheduler.Run();
        link = nullptr;
        wire = nullptr;
      });
    }
  });
  std::atomic<int> listed{0};
  for (int t = 0; t < 2; ++t) {
    threads.emplace_back([&] {
      for (int i = 0; i < 300; ++i) {
        auto list = nodes.List();
        if (list.ok()) listed += static_cast<int>(list->size());
        (void)nodes.Disconnect("lisbon", "test");
      }
    });
  }
  threads.emplace_back([&] {
    for (int i = 0; i < 10; ++i) {
      REQUIRE_OK(nodes.SetSuspended(
          i % 2 == 0 ? std::vector<std::string>{"porto"} : std::vector<std::string>{}, i));
    }
  });
  for (auto& thread : threads) thread.join();
  CHECK(listed > 0);
  REQUIRE_VALUE(auto list, nodes.List());
  CHECK(list.size() == 2);
}

TEST_CASE("directory: the list of suspended nodes outlives the relay, and its epoch never falls") {
  base::SetLogLevel(base::Level::kError);
  oncomesh::testing::TemporaryFolder folder;
  base::FakeClock clock;
  ThreadLoop loop;
  NodeDirectory::Deps deps{loop, clock, base::SystemRandom::Get(), {}, folder / "suspended.json"};
  {
    NodeDirectory nodes(deps);
    REQUIRE_OK(nodes.Load());
    REQUIRE_OK(nodes.SetSuspended({"porto", "lisbon", "porto"}, 5));
  }
  NodeDirectory nodes(deps);
  REQUIRE_OK(nodes.Load());
  REQUIRE_REASON(nodes.Admit("lisbon", ""), absl::StatusCode::kPermissionDenied, "NODE_SUSPENDED");
  REQUIRE_REASON(nodes.Call("porto"), absl::StatusCode::kPermissionDenied, "NODE_SUSPENDED");
  REQUIRE_OK(nodes.Admit("berlin", ""));
  REQUIRE_REASON(nodes.SetSuspended({}, 4), absl::StatusCode::kAborted, "EPOCH_ROLLBACK");
  REQUIRE_OK(nodes.SetSuspended({"berlin"}, 5));
  REQUIRE_OK(nodes.Admit("lisbon", ""));
  REQUIRE_REASON(nodes.Admit("berlin", ""), absl::StatusCode::kPermissionDenied, "NODE_SUSPENDED");
  for (const char* name : {"", "a", "hub", "Lisbon", "1a", "a/b", "..", "a\n"}) {
    REQUIRE_REASON(nodes.SetSuspended({name}, 9), absl::StatusCode::kInvalidArgument,
                   "NODE_ID_INVALID");
  }
  REQUIRE_OK(base::WriteFileAtomically(folder / "suspended.json", "[]"));
  NodeDirectory broken(deps);
  REQUIRE_REASON(broken.Load(), absl::StatusCode::kDataLoss, "SUSPENDED_UNREADABLE");
}

TEST_CASE("directory: keys of an earlier membership of a name stay out after it enrolled anew") {
  oncomesh::testing::TemporaryFolder folder;
  base::FakeClock clock;
  ThreadLoop loop;
  NodeDirectory::Deps deps{loop, clock, base::SystemRandom::Get(), {}, folder / "suspended.json"};
  const absl::Time now = clock.Now();
  const crypto::PrivateKey ca = crypto::PrivateKey::Generate(crypto::KeyType::kP256);
  const std::string ca_pem =
      crypto::CreateAuthority(ca, "test", now - absl::Hours(1), now + absl::Hours(1));
  auto issued = [&](absl::Time not_before) {
    const crypto::PrivateKey key = crypto::PrivateKey::Generate(crypto::KeyType::kP256);
    REQUIRE_VALUE(std::string pem,
                  crypto::IssueCertificate(ca_pem, ca, crypto::CreateSigningRequest(key),
                                           {.uri = "spiffe://test/node/lisbon/relay",
                                            .dns = {},
                                            .ips = {},
                                            .not_before = not_before,
                                            .not_after = now + absl::Hours(1)}));
    return pem;
  };
  const std::string old = issued(now - absl::Seconds(1)), fresh = issued(now);
  {
    NodeDirectory nodes(deps);
    REQUIRE_OK(nodes.Admit("lisbon", old));
    REQUIRE_OK(nodes.SetSuspended({"porto"}, 1, {{"lisbon", absl::ToUnixSeconds(now)}}));
  }
  NodeDirectory nodes(deps);  // after a restart
  REQUIRE_OK(nodes.Load());
  for (const std::string& pem : {old, std::string(), std::string("no certificate")}) {
    REQUIRE_REASON(nodes.Admit("lisbon", pem), absl::StatusCode::kPermissionDenied,
                   "CERTIFICATE_REPLACED");
  }
  REQUIRE_OK(nodes.Admit("lisbon", fresh));
  REQUIRE_REASON(nodes.Admit("lisbon", old), absl::StatusCode::kPermissionDenied,
                 "CERTIFICATE_REPLACED");
  REQUIRE_OK(nodes.Admit("berlin", ""));  // never enrolled anew
  REQUIRE_REASON(nodes.Admit("porto", fresh), absl::StatusCode::kPermissionDenied,
                 "NODE_SUSPENDED");
}

TEST_CASE("directory: who is connected with keys of an earlier membership is cut off") {
  base::SetLogLevel(base::Level::kError);
  oncomesh::testing::TemporaryFolder folder;
  base::FakeClock clock;
  ThreadLoop loop;
  Routes routes;
  NodeDirectory nodes({loop, clock, base::SystemRandom::Get(), {}, folder / "suspended.json"});
  HubRelay hub("d", nodes, routes);
  Scheduler scheduler(17);
  std::vector<std::shared_ptr<HubLink>> links;
  RunOn(loop, [&] {
    for (const char* node : {"lisbon", "porto"}) {
      auto wire = std::make_shared<PipeLine>(
          scheduler, [&](std::shared_ptr<IncomingCall> call) { hub.OnCall(std::move(call)); },
          std::vector<std::string>{absl::StrCat("spiffe://d/node/", node, "/relay")});
      links.push_back(std::make_shared<HubLink>(HubLink::Deps{
          scheduler, Backoff(absl::Hours(1), absl::Hours(1), base::SystemRandom::Get()), "1",
          [wire]() -> std::shared_ptr<Line> { return wire; },
          [](std::shared_ptr<IncomingCall> call) { Refuse(call, absl::InternalError("no")); }}));
      links.back()->Start();
    }
    scheduler.Run();
  });
  auto connected = [&] {
    RunOn(loop, [&] { scheduler.Run(); });
    REQUIRE_VALUE(auto list, nodes.List());
    std::vector<std::string> out;
    for (const auto& presence : list) {
      if (presence.connected()) out.push_back(presence.node());
    }
    return out;
  };
  REQUIRE(connected() == std::vector<std::string>{"lisbon", "porto"});
  REQUIRE_OK(nodes.SetSuspended({}, 1, {{"lisbon", absl::ToUnixSeconds(clock.Now())}}));
  CHECK(connected() == std::vector<std::string>{"porto"});
  RunOn(loop, [&] {
    for (auto& link : links) link->Stop();
    scheduler.Run();
    links.clear();
  });
}

}  // namespace oncomesh::relay
