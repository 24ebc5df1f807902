// SPDX-License-Identifier: Apache-2.0
#include "services/access/housekeeper.h"

#include <algorithm>
#include <catch2/catch.hpp>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "libs/base/error.h"
#include "libs/base/log.h"

namespace oncomesh::access {
namespace {

// Work that fails as it is told, and counts.
struct Hub {
  explicit Hub(absl::Duration rest, absl::Duration retry)
      : keeper({.push =
                    [this] {
                      base::MutexLock lock(mutex);
                      ++pushes;
                      changed.SignalAll();
                      return outcome;
                    },
                .renew = [] { return absl::OkStatus(); },
                .look_again = [rest] { return rest; },
                .retry = retry}) {
    base::SetLogSink([this](const std::string& line) {
      base::MutexLock lock(mutex);
      lines.push_back(line);
    });
  }
  ~Hub() {
    keeper.Stop();
    base::SetLogSink(nullptr);
  }
  // False when it does not come to `count` in ten seconds.
  bool Pushed(int count) {
    base::MutexLock lock(mutex);
    while (pushes < count) {
      if (!changed.WaitFor(mutex, std::chrono::seconds(10))) return pushes >= count;
    }
    return true;
  }
  void Answer(const absl::Status& status) {
    base::MutexLock lock(mutex);
    outcome = status;
  }
  int Lines(const std::string& event, const std::string& reason) {
    base::MutexLock lock(mutex);
    return static_cast<int>(std::count_if(lines.begin(), lines.end(), [&](const std::string& line) {
      return absl::StrContains(line, event) && absl::StrContains(line, reason);
    }));
  }
  base::Mutex mutex;
  base::CondVar changed;
  int pushes ABSL_GUARDED_BY(mutex) = 0;
  absl::Status outcome ABSL_GUARDED_BY(mutex);
  std::vector<std::string> lines ABSL_GUARDED_BY(mutex);
  Housekeeper keeper;
};

TEST_CASE("housekeeper: a relay that missed a change is told at once, not at the next round") {
  Hub hub(absl::Hours(1), absl::Hours(1));
  hub.keeper.Start();
  REQUIRE(hub.Pushed(1));
  for (int i = 2; i < 10; ++i) {
    hub.keeper.Wake();
    REQUIRE(hub.Pushed(i));
  }
}

TEST_CASE("housekeeper: what the relay does not take is pushed again, and said once per reason") {
  Hub hub(absl::Hours(1), absl::Milliseconds(1));
  hub.Answer(base::Error(absl::StatusCode::kUnavailable, "RELAY_AWAY", "away"));
  hub.keeper.Start();
  REQUIRE(hub.Pushed(5));
  hub.Answer(base::Error(absl::StatusCode::kFailedPrecondition, "EPOCH_ROLLBACK", "restored"));
  int seen = 0;
  {
    base::MutexLock lock(hub.mutex);
    seen = hub.pushes;
  }
  REQUIRE(hub.Pushed(seen + 5));
  hub.Answer(absl::OkStatus());
  {
    base::MutexLock lock(hub.mutex);
    seen = hub.pushes;
  }
  REQUIRE(hub.Pushed(seen + 1));
  hub.keeper.Wake();
  hub.keeper.Stop();
  CHECK(hub.Lines("relay.not_told", "RELAY_AWAY") == 1);
  CHECK(hub.Lines("relay.not_told", "EPOCH_ROLLBACK") == 1);
  CHECK(hub.Lines("relay.told", "") == 1);
}

TEST_CASE("housekeeper: a relay that comes up a little later is no fault") {
  Hub hub(absl::Hours(1), absl::Milliseconds(50));
  hub.Answer(base::Error(absl::StatusCode::kUnavailable, "RELAY_AWAY", "away"));
  hub.keeper.Start();
  REQUIRE(hub.Pushed(1));
  hub.Answer(absl::OkStatus());
  hub.keeper.Wake();
  REQUIRE(hub.Pushed(2));
  hub.keeper.Stop();
  CHECK(hub.Lines("relay.not_told", "") == 0);
  CHECK(hub.Lines("relay.told", "") == 0);
}

TEST_CASE("housekeeper: it stops while it rests, and without having begun") {
  Hub hub(absl::Hours(1), absl::Hours(1));
  hub.keeper.Stop();
  Hub other(absl::Hours(1), absl::Hours(1));
  other.keeper.Start();
  REQUIRE(other.Pushed(1));
}

}  // namespace
}  // namespace oncomesh::access
