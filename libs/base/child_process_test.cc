// SPDX-License-Identifier: Apache-2.0
#include "libs/base/child_process.h"

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <catch2/catch.hpp>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "libs/base/files.h"
#include "libs/testing/status_matchers.h"
#include "libs/testing/temporary_folder.h"

namespace oncomesh::base {
namespace {

ChildCommand Shell(const std::string& script) {
  ChildCommand command;
  command.argv = {"/bin/sh", "-c", script};
  command.environment = {"PATH=/usr/bin:/bin"};
  command.grace = absl::Milliseconds(300);
  return command;
}

bool Gone(pid_t pid) { return kill(pid, 0) != 0 && errno == ESRCH; }

// Waits for a process that another parent reaps.
bool GoneSoon(pid_t pid) {
  for (int i = 0; i < 200 && !Gone(pid); ++i) absl::SleepFor(absl::Milliseconds(10));
  // A killed orphan whose new parent does not reap stays as a zombie, which is dead enough.
  absl::StatusOr<std::string> stat = ReadFile(absl::StrCat("/proc/", pid, "/stat"));
  return Gone(pid) || (stat.ok() && stat->find(") Z") != std::string::npos);
}

TEST_CASE("child: output, errors and exit status come back, nothing of the environment goes in") {
  setenv("ONCOMESH_SECRET", "s", 1);
  REQUIRE_VALUE(ChildResult result,
                RunChild(Shell("echo out; echo \"err${ONCOMESH_SECRET}\" >&2; exit 7")));
  CHECK(result.end == ChildResult::End::kExited);
  CHECK(result.exit_status == 7);
  CHECK(result.output == "out\n");
  CHECK(result.errors == "err\n");
  CHECK(result.peak_memory_bytes > 100'000);
}

TEST_CASE("child: only the descriptors that are named go in, and its process id comes out") {
  int fds[2];
  REQUIRE(pipe(fds) == 0);
  REQUIRE(write(fds[1], "hello\n", 6) == 6);
  const std::string read = absl::StrCat("read line <&", fds[0], " && echo $line $$");
  ChildCommand command = Shell(read);
  command.descriptors = {fds[0]};
  int pid = 0;
  command.started = [&](int id) { pid = id; };
  REQUIRE_VALUE(ChildResult given, RunChild(command));
  CHECK(given.output == absl::StrCat("hello ", pid, "\n"));
  REQUIRE_VALUE(ChildResult not_given, RunChild(Shell(read)));
  CHECK(not_given.exit_status != 0);
  close(fds[0]);
  close(fds[1]);
}

TEST_CASE("child: a program that is not there, or may not run, says so") {
  ChildCommand command;
  command.argv = {"/no/such/program"};
  REQUIRE_REASON(RunChild(command), absl::StatusCode::kNotFound, "PROGRAM_NOT_FOUND");
  testing::TemporaryFolder folder;
  REQUIRE_OK(WriteFileAtomically(folder / "data", "x", 0600));
  command.argv = {folder / "data"};
  REQUIRE_REASON(RunChild(command), absl::StatusCode::kPermissionDenied, "PROGRAM_NOT_ALLOWED");
}

TEST_CASE("child: only so much output is kept, and a talkative child does not block") {
  ChildCommand command = Shell("head -c 3000000 /dev/zero; head -c 3000000 /dev/zero >&2");
  command.output_limit = 1000;
  REQUIRE_VALUE(ChildResult result, RunChild(command));
  CHECK(result.exit_status == 0);
  CHECK(result.output.size() == 1000);
  CHECK(result.errors.size() == 1000);
}

TEST_CASE("child: at the deadline the whole group ends, also what ignores SIGTERM") {
  testing::TemporaryFolder folder;
  ChildCommand command = Shell(absl::StrCat("trap '' TERM; (trap '' TERM; echo $$ > ",
                                            folder / "pid", "; sleep 60) & sleep 60; sleep 60"));
  command.deadline = absl::Milliseconds(500);
  absl::Time start = absl::Now();
  REQUIRE_VALUE(ChildResult result, RunChild(command));
  CHECK(result.end == ChildResult::End::kDeadline);
  CHECK(absl::Now() - start < absl::Seconds(10));
  REQUIRE_VALUE(std::string text, ReadFile(folder / "pid"));
  int pid = 0;
  REQUIRE(absl::SimpleAtoi(text, &pid));
  CHECK(GoneSoon(pid));
}

TEST_CASE("child: one that writes without pause is asked about, and ends, as any other") {
  ChildCommand command = Shell("yes & yes >&2 & yes & yes >&2 & exec yes");
  command.deadline = absl::Seconds(2);
  command.output_limit = 1000;
  int asked = 0;
  const absl::Time start = absl::Now();
  REQUIRE_VALUE(ChildResult result, RunChild(command, [&] { return ++asked > 0; }));
  CHECK(result.end == ChildResult::End::kDeadline);
  CHECK(asked > 5);
  CHECK(absl::Now() - start < absl::Seconds(20));
}

TEST_CASE("child: it is stopped when the caller no longer wants it") {
  int asked = 0;
  REQUIRE_VALUE(ChildResult result, RunChild(Shell("sleep 60"), [&] { return ++asked < 2; }));
  CHECK(result.end == ChildResult::End::kStopped);
  CHECK(result.signal == SIGTERM);
}

TEST_CASE("child: what it leaves running in the background does not outlive it") {
  REQUIRE_VALUE(ChildResult result, RunChild(Shell("sleep 60 & echo $!")));
  int pid = 0;
  REQUIRE(absl::SimpleAtoi(result.output, &pid));
  CHECK(GoneSoon(pid));
}

TEST_CASE("child: limits of memory and of file size hold") {
  ChildCommand command = Shell("head -c 200000000 /dev/zero | tail -c 150000000 | wc -c");
  command.limits.memory_bytes = 64 << 20;
  REQUIRE_VALUE(ChildResult hungry, RunChild(command));
  CHECK(hungry.output != "150000000\n");
  testing::TemporaryFolder folder;
  ChildCommand writer = Shell(absl::StrCat("head -c 100000 /dev/zero > ", folder / "big"));
  writer.limits.file_bytes = 50'000;
  REQUIRE_VALUE(ChildResult cut, RunChild(writer));
  CHECK(cut.exit_status != 0);
  REQUIRE_VALUE(std::string big, ReadFile(folder / "big"));
  CHECK(big.size() == 50'000);
}

TEST_CASE("child: it dies with this process, even when that is killed") {
  testing::TemporaryFolder folder;
  const std::string pid_file = folder / "pid";
  pid_t middle = fork();
  if (middle == 0) {
    (void)RunChild(Shell(absl::StrCat("echo $$ > ", pid_file, ".new; mv ", pid_file, ".new ",
                                      pid_file, "; sleep 60")));
    _exit(0);
  }
  int pid = 0;
  for (int i = 0; i < 500 && pid == 0; ++i) {
    absl::SleepFor(absl::Milliseconds(10));
    absl::StatusOr<std::string> text = ReadFile(pid_file);
    if (text.ok() && !absl::SimpleAtoi(*text, &pid)) pid = 0;
  }
  REQUIRE(pid > 0);
  kill(middle, SIGKILL);
  waitpid(middle, nullptr, 0);
  CHECK(GoneSoon(pid));
}

}  // namespace
}  // namespace oncomesh::base
