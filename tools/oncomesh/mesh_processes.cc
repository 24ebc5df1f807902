// SPDX-License-Identifier: Apache-2.0
#include "tools/oncomesh/mesh_processes.h"

#include <fcntl.h>
#include <grpcpp/grpcpp.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <filesystem>
#include <iterator>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "absl/time/clock.h"
#include "grpc/health/v1/health.grpc.pb.h"
#include "libs/base/error.h"
#include "libs/base/files.h"
#include "libs/base/status_macros.h"
#include "tools/oncomesh/interrupt.h"

namespace oncomesh::cli {
namespace {

int ReadPid(const Mesh& mesh, const Process& process) {
  absl::StatusOr<std::string> text = base::ReadFile(mesh.PidFile(process), 64);
  int pid = 0;
  if (!text.ok() || !absl::SimpleAtoi(absl::StripAsciiWhitespace(*text), &pid)) return 0;
  return pid;
}

std::string LastLogLine(const std::string& path) {
  absl::StatusOr<std::string> text = base::ReadFile(path);
  if (!text.ok()) return "";
  std::vector<absl::string_view> lines = absl::StrSplit(*text, '\n', absl::SkipEmpty());
  return lines.empty() ? "" : std::string(lines.back());
}

}  // namespace

std::string ProgramFolder() {
  std::error_code error;
  std::filesystem::path self = std::filesystem::read_symlink("/proc/self/exe", error);
  return error ? "." : self.parent_path().string();
}

bool IsRunning(const Mesh& mesh, const Process& process) {
  const int pid = ReadPid(mesh, process);
  if (pid <= 0) return false;
  const std::string proc = absl::StrCat("/proc/", pid);
  absl::StatusOr<std::string> command = base::ReadFile(proc + "/cmdline", 1 << 16);
  if (!command.ok()) return false;
  if (!command->empty()) {
    return command->find("oncomesh-" + process.service) != std::string::npos &&
           command->find(mesh.ConfigFile(process)) != std::string::npos;
  }
  // Empty for a moment while the kernel lays out a program that has just been started, and for one
  // that ends. That holds its ports until its last thread is gone; the first may be a zombie
  // before.
  absl::StatusOr<std::string> stat = base::ReadFile(proc + "/stat", 1 << 16);
  const size_t name_end = stat.ok() ? stat->rfind(')') : std::string::npos;
  if (name_end == std::string::npos || name_end + 2 >= stat->size()) return false;
  const char state = (*stat)[name_end + 2];
  if (state != 'Z' && state != 'X') return true;
  std::error_code error;
  const std::filesystem::directory_iterator threads(proc + "/task", error);
  return !error && std::distance(threads, {}) > 1;
}

absl::Status StartProcess(const Mesh& mesh, const Process& process) {
  if (IsRunning(mesh, process)) return absl::OkStatus();
  const std::string program = absl::StrCat(ProgramFolder(), "/oncomesh-", process.service);
  if (access(program.c_str(), X_OK) != 0) {
    return base::Error(
        absl::StatusCode::kNotFound, "PROGRAM_MISSING",
        absl::StrCat("there is no program ", program, "; build it with tools/build"));
  }
  for (const char* folder : {"/log", "/run"}) {
    RETURN_IF_ERROR(base::MakeDirectories(mesh.SiteDir(process.site) + folder, 0700));
  }
  int log = open(mesh.LogFile(process).c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
  if (log < 0) return base::ErrnoStatus(errno, "open the log of a service");
  // Closed by the start of the program: until then the child is still this program, and nobody
  // could tell that the service runs. What arrives is the reason why it could not be started.
  int started[2];
  if (pipe2(started, O_CLOEXEC) != 0) {
    close(log);
    return base::ErrnoStatus(errno, "start a process");
  }
  const std::string role = process.site == "hub" ? "--role=hub" : "--role=node";
  const std::string config = "--config=" + mesh.ConfigFile(process);
  pid_t pid = fork();
  if (pid < 0) {
    for (int descriptor : {log, started[0], started[1]}) close(descriptor);
    return base::ErrnoStatus(errno, "start a process");
  }
  if (pid == 0) {
    setsid();
    int null = open("/dev/null", O_RDONLY);
    dup2(null, STDIN_FILENO);
    dup2(log, STDOUT_FILENO);
    dup2(log, STDERR_FILENO);
    signal(SIGINT, SIG_DFL);
    execl(program.c_str(), program.c_str(), role.c_str(), config.c_str(), nullptr);
    const int reason = errno;
    (void)!write(started[1], &reason, sizeof reason);
    _exit(127);
  }
  close(log);
  close(started[1]);
  int reason = 0;
  ssize_t got;
  do {
    got = read(started[0], &reason, sizeof reason);
  } while (got < 0 && errno == EINTR);
  close(started[0]);
  if (got != 0) {
    waitpid(pid, nullptr, 0);
    return base::ErrnoStatus(reason, absl::StrCat("start ", program));
  }
  return base::WriteFileAtomically(mesh.PidFile(process), absl::StrCat(pid, "\n"), 0600);
}

std::string Health(const Process& process, absl::Duration timeout) {
  auto channel = grpc::CreateChannel(process.Address("admin"), grpc::InsecureChannelCredentials());
  auto stub = grpc::health::v1::Health::NewStub(channel);
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + absl::ToChronoMilliseconds(timeout));
  grpc::health::v1::HealthCheckResponse response;
  if (!stub->Check(&context, {}, &response).ok()) return "DOWN";
  return response.status() == grpc::health::v1::HealthCheckResponse::SERVING ? "SERVING"
                                                                             : "NOT_SERVING";
}

absl::Status WaitServing(const Mesh& mesh, const Process& process, absl::Duration timeout) {
  const absl::Time deadline = absl::Now() + timeout;
  const std::string name = absl::StrCat(process.service, " of ", process.site);
  while (true) {
    if (Health(process, absl::Seconds(1)) == "SERVING") return absl::OkStatus();
    int pid = ReadPid(mesh, process);
    if (pid > 0) waitpid(pid, nullptr, WNOHANG);  // a child of this program that ended
    if (!IsRunning(mesh, process)) {
      return base::Error(
          absl::StatusCode::kUnavailable, "SERVICE_ENDED",
          absl::StrCat(name, " ended while it started; the end of ", mesh.LogFile(process), ": ",
                       LastLogLine(mesh.LogFile(process))));
    }
    RETURN_IF_ERROR(InterruptGuard::Check());
    if (absl::Now() >= deadline) {
      return base::Error(absl::StatusCode::kDeadlineExceeded, "SERVICE_SLOW",
                         absl::StrCat(name, " does not serve yet; see ", mesh.LogFile(process)));
    }
    absl::SleepFor(absl::Milliseconds(50));
  }
}

absl::Time LastLogTime(const Mesh& mesh, const Process& process) {
  struct stat info{};
  if (stat(mesh.LogFile(process).c_str(), &info) != 0) return absl::InfinitePast();
  return absl::TimeFromTimespec(info.st_mtim);
}

void StopProcesses(const Mesh& mesh, const std::vector<const Process*>& processes,
                   absl::Duration grace) {
  for (const Process* process : processes) {
    if (IsRunning(mesh, *process)) kill(ReadPid(mesh, *process), SIGTERM);
  }
  const absl::Time deadline = absl::Now() + grace;
  for (const Process* process : processes) {
    const int pid = ReadPid(mesh, *process);
    while (IsRunning(mesh, *process)) {
      waitpid(pid, nullptr, WNOHANG);  // when it is a child of this program
      if (absl::Now() >= deadline) kill(pid, SIGKILL);
      absl::SleepFor(absl::Milliseconds(20));
    }
    unlink(mesh.PidFile(*process).c_str());
  }
}

}  // namespace oncomesh::cli
