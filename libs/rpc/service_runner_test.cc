// SPDX-License-Identifier: Apache-2.0
#include "libs/rpc/service_runner.h"

#include <pthread.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <memory>
#include <string>

#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "libs/base/error.h"
#include "libs/base/files.h"
#include "libs/testing/status_matchers.h"
#include "libs/testing/temporary_folder.h"

namespace oncomesh::rpc {
namespace {

TEST_CASE("service runner: a signal ends a service that waits for its identity") {
  testing::TemporaryFolder folder;
  config::v1::ServiceConfig config;
  config.set_site("hub");
  config.set_trust_domain("mesh");
  config.set_state_dir(folder / "state");
  config.set_identity_dir(folder / "identity");
  const std::string file = folder / "config.json";
  REQUIRE_OK(base::WriteFileAtomically(file, "{}"));

  // The child must not meet the signal before it blocks it.
  sigset_t signals, before;
  sigemptyset(&signals);
  sigaddset(&signals, SIGTERM);
  pthread_sigmask(SIG_BLOCK, &signals, &before);
  const pid_t child = fork();
  if (child == 0) {
    std::string program = "oncomesh-test", role = "--role=hub", path = "--config=" + file;
    char* arguments[] = {program.data(), role.data(), path.data()};
    config::v1::ServiceConfig parsed;
    _exit(RunServiceWith(
        3, arguments, "test", {}, parsed,
        [&]() -> const config::v1::ServiceConfig& { return config; },
        [](const google::protobuf::Message&, Role) -> absl::StatusOr<std::unique_ptr<App>> {
          return base::Error(absl::StatusCode::kInternal, "WIRED", "there is no identity");
        }));
  }
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
  REQUIRE(child > 0);
  // The state folder is made just before it waits.
  const absl::Time deadline = absl::Now() + absl::Seconds(20);
  while (access((folder / "state").c_str(), F_OK) != 0 && absl::Now() < deadline) {
    absl::SleepFor(absl::Milliseconds(5));
  }
  absl::SleepFor(absl::Milliseconds(100));
  int state = 0;
  const pid_t early = waitpid(child, &state, WNOHANG);
  pid_t ended = early;
  if (early == 0) kill(child, SIGTERM);
  while (ended == 0 && absl::Now() < deadline) {
    absl::SleepFor(absl::Milliseconds(5));
    ended = waitpid(child, &state, WNOHANG);
  }
  if (ended == 0) {
    kill(child, SIGKILL);
    waitpid(child, &state, 0);
  }
  CHECK(early == 0);  // it waited
  REQUIRE(ended == child);
  REQUIRE(WIFEXITED(state));
  CHECK(WEXITSTATUS(state) == 0);
}

}  // namespace
}  // namespace oncomesh::rpc
