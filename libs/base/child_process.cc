// SPDX-License-Identifier: Apache-2.0
#include "libs/base/child_process.h"

#include <fcntl.h>
#include <linux/close_range.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/time/clock.h"
#include "libs/base/error.h"
#include "libs/base/status_macros.h"

namespace oncomesh::base {
namespace {

class Descriptor {
 public:
  explicit Descriptor(int fd = -1) : fd_(fd) {}
  Descriptor(Descriptor&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  Descriptor& operator=(Descriptor&& other) noexcept {
    Close();
    fd_ = std::exchange(other.fd_, -1);
    return *this;
  }
  ~Descriptor() { Close(); }
  void Close() {
    if (fd_ >= 0) close(fd_);
    fd_ = -1;
  }
  int get() const { return fd_; }

 private:
  int fd_;
};

absl::Status NotStarted(int error) {
  std::string message = absl::StrCat("could not start the program: ", std::strerror(error));
  switch (error) {
    case ENOENT:
    case ENOTDIR:
      return Error(absl::StatusCode::kNotFound, "PROGRAM_NOT_FOUND", message);
    case EACCES:
    case EPERM:
      return Error(absl::StatusCode::kPermissionDenied, "PROGRAM_NOT_ALLOWED", message);
    default:
      return Error(absl::StatusCode::kUnavailable, "PROGRAM_NOT_STARTED", message);
  }
}

absl::Status MakePipe(Descriptor& reader, Descriptor& writer) {
  int fds[2];
  if (pipe2(fds, O_CLOEXEC) != 0) return NotStarted(errno);
  reader = Descriptor(fds[0]);
  writer = Descriptor(fds[1]);
  return absl::OkStatus();
}

// As execvp would look, but before the fork, where memory may be allocated.
std::string FindProgram(const std::string& name) {
  if (name.find('/') != std::string::npos) return name;
  const char* path = std::getenv("PATH");
  for (absl::string_view folder :
       absl::StrSplit(path == nullptr ? "/usr/bin:/bin" : path, ':', absl::SkipEmpty())) {
    std::string candidate = absl::StrCat(folder, "/", name);
    if (access(candidate.c_str(), X_OK) == 0) return candidate;
  }
  return name;
}

bool SetLimit(int resource, uint64_t value) {
  if (value == 0) return true;
  rlimit limit{};
  if (getrlimit(static_cast<__rlimit_resource>(resource), &limit) != 0) return false;
  if (limit.rlim_max != RLIM_INFINITY) value = std::min<uint64_t>(value, limit.rlim_max);
  limit.rlim_cur = limit.rlim_max = value;
  return setrlimit(static_cast<__rlimit_resource>(resource), &limit) == 0;
}

// What the child does between fork and exec: system calls only, since other threads of this process
// may have held any lock at the fork.
struct ChildStart {
  const char* program;
  char* const* argv;
  char* const* environment;
  const char* directory;  // or null
  ChildLimits limits;
  uint64_t cpu_seconds;
  pid_t parent;
  int in, out, err, report;
  const int* descriptors;
  size_t descriptor_count;

  [[noreturn]] void Go() const {
    setpgid(0, 0);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    bool ok = getppid() == parent;  // else the parent died before the line above
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, nullptr);
    signal(SIGPIPE, SIG_DFL);
    ok = ok && dup2(in, 0) == 0 && dup2(out, 1) == 1 && dup2(err, 2) == 2;
    ok = ok && syscall(SYS_close_range, 3, ~0U, CLOSE_RANGE_CLOEXEC) == 0;
    for (size_t i = 0; i < descriptor_count; ++i) {
      ok = ok && fcntl(descriptors[i], F_SETFD, 0) == 0;
    }
    ok = ok && (directory == nullptr || chdir(directory) == 0);
    rlimit no_core{0, 0};
    ok = ok && setrlimit(RLIMIT_CORE, &no_core) == 0;
    ok = ok && SetLimit(RLIMIT_AS, limits.memory_bytes) && SetLimit(RLIMIT_CPU, cpu_seconds) &&
         SetLimit(RLIMIT_FSIZE, limits.file_bytes) && SetLimit(RLIMIT_NOFILE, limits.open_files) &&
         SetLimit(RLIMIT_NPROC, limits.processes);
    if (ok) execve(program, argv, environment);
    int error = errno;
    ssize_t ignored = write(report, &error, sizeof(error));
    (void)ignored;
    _exit(127);
  }
};

// Moves what is in the pipe to `kept`, up to the limit. False at its end. A child that writes as
// fast as it is read does not keep the caller: after 1 MiB, which is all that a pipe can hold,
// there is a next turn.
bool Drain(int fd, std::string& kept, size_t limit) {
  char buffer[16 << 10];
  for (int reads = 0; reads < 64;) {
    ssize_t got = read(fd, buffer, sizeof(buffer));
    if (got > 0) {
      ++reads;
      size_t room = limit - std::min(limit, kept.size());
      kept.append(buffer, std::min(room, static_cast<size_t>(got)));
      continue;
    }
    if (got < 0 && errno == EINTR) continue;
    return got < 0 && errno == EAGAIN;
  }
  return true;
}

}  // namespace

absl::StatusOr<ChildResult> RunChild(const ChildCommand& command, absl::FunctionRef<bool()> go_on) {
  if (command.argv.empty()) return NotStarted(ENOENT);
  const std::string program = FindProgram(command.argv[0]);
  std::vector<char*> argv, environment;
  for (const std::string& word : command.argv) argv.push_back(const_cast<char*>(word.c_str()));
  for (const std::string& entry : command.environment) {
    environment.push_back(const_cast<char*>(entry.c_str()));
  }
  argv.push_back(nullptr);
  environment.push_back(nullptr);
  Descriptor out, out_writer, err, err_writer, report, report_writer;
  RETURN_IF_ERROR(MakePipe(out, out_writer));
  RETURN_IF_ERROR(MakePipe(err, err_writer));
  RETURN_IF_ERROR(MakePipe(report, report_writer));
  Descriptor in(open("/dev/null", O_RDONLY | O_CLOEXEC));
  const ChildLimits& limits = command.limits;
  uint64_t cpu_seconds = 0;
  if (limits.cpu_time > absl::ZeroDuration() && limits.cpu_time < absl::InfiniteDuration()) {
    cpu_seconds = static_cast<uint64_t>(absl::ToInt64Seconds(limits.cpu_time)) + 1;
  }
  ChildStart start{program.c_str(),
                   argv.data(),
                   environment.data(),
                   command.directory.empty() ? nullptr : command.directory.c_str(),
                   limits,
                   cpu_seconds,
                   getpid(),
                   in.get(),
                   out_writer.get(),
                   err_writer.get(),
                   report_writer.get(),
                   command.descriptors.data(),
                   command.descriptors.size()};
  const pid_t child = fork();
  if (child < 0) return NotStarted(errno);
  if (child == 0) start.Go();
  setpgid(child, child);  // whichever of the two comes first
  out_writer.Close();
  err_writer.Close();
  report_writer.Close();

  ChildResult result;
  int status = 0;
  rusage usage{};
  auto reap = [&](int options) {
    pid_t got;
    do {
      got = wait4(child, &status, options, &usage);
    } while (got < 0 && errno == EINTR);
    return got == child;
  };
  int failed = 0;
  ssize_t got;
  do {
    got = read(report.get(), &failed, sizeof(failed));
  } while (got < 0 && errno == EINTR);
  if (got == sizeof(failed)) {
    reap(0);
    return NotStarted(failed);
  }
  if (command.started) command.started(child);

  fcntl(out.get(), F_SETFL, O_NONBLOCK);
  fcntl(err.get(), F_SETFL, O_NONBLOCK);
  Descriptor exit_event(static_cast<int>(syscall(SYS_pidfd_open, child, 0)));
  const absl::Time end = absl::Now() + command.deadline;
  absl::Time kill_time = absl::InfiniteFuture();
  bool stopping = false;
  // Reaped only here, so that the group's number cannot be another's while signals are sent to it.
  while (true) {
    pollfd waits[3] = {
        {out.get(), POLLIN, 0}, {err.get(), POLLIN, 0}, {exit_event.get(), POLLIN, 0}};
    poll(waits, 3, 200);
    if (out.get() >= 0 && !Drain(out.get(), result.output, command.output_limit)) out.Close();
    if (err.get() >= 0 && !Drain(err.get(), result.errors, command.output_limit)) err.Close();
    siginfo_t info{};
    if (waitid(P_PID, static_cast<id_t>(child), &info, WEXITED | WNOHANG | WNOWAIT) == 0 &&
        info.si_pid == child) {
      break;
    }
    const absl::Time now = absl::Now();
    if (!stopping && (now >= end || !go_on())) {
      result.end = now >= end ? ChildResult::End::kDeadline : ChildResult::End::kStopped;
      stopping = true;
      kill_time = now + command.grace;
      kill(-child, SIGTERM);
    }
    if (now >= kill_time) kill(-child, SIGKILL);
  }
  kill(-child, SIGKILL);  // what it left behind
  reap(0);
  if (out.get() >= 0) Drain(out.get(), result.output, command.output_limit);
  if (err.get() >= 0) Drain(err.get(), result.errors, command.output_limit);
  if (WIFSIGNALED(status)) {
    result.signal = WTERMSIG(status);
    if (!stopping) result.end = ChildResult::End::kSignalled;
  } else {
    result.exit_status = WEXITSTATUS(status);
  }
  result.peak_memory_bytes = static_cast<uint64_t>(usage.ru_maxrss) * 1024;
  result.cpu_time =
      absl::DurationFromTimeval(usage.ru_utime) + absl::DurationFromTimeval(usage.ru_stime);
  return result;
}

absl::StatusOr<ChildResult> RunChild(const ChildCommand& command) {
  return RunChild(command, [] { return true; });
}

}  // namespace oncomesh::base
