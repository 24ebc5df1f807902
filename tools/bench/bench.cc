// SPDX-License-Identifier: Apache-2.0
#include "tools/bench/bench.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <sched.h>
#include <signal.h>
#include <spawn.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <filesystem>
#include <set>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/synchronization/mutex.h"
#include "libs/base/files.h"

namespace oncomesh::bench {
namespace {

std::set<std::string>& Scratches() {
  static auto* folders = new std::set<std::string>;
  return *folders;
}

std::vector<std::function<void()>>& Cleaners() {
  static auto* cleaners = new std::vector<std::function<void()>>;
  return *cleaners;
}

std::set<pid_t>& Children() {
  static auto* children = new std::set<pid_t>;
  return *children;
}

pid_t Spawn(const std::vector<std::string>& arguments, int in, int out, const std::string& log) {
  std::vector<std::string> copies = arguments;
  std::vector<char*> argv;
  for (std::string& argument : copies) argv.push_back(argument.data());
  argv.push_back(nullptr);
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  if (in >= 0) posix_spawn_file_actions_adddup2(&actions, in, 0);
  if (out >= 0) posix_spawn_file_actions_adddup2(&actions, out, 1);
  if (!log.empty()) {
    posix_spawn_file_actions_addopen(&actions, 2, log.c_str(), O_WRONLY | O_CREAT | O_APPEND, 0600);
  }
  pid_t pid = 0;
  int error = posix_spawnp(&pid, argv[0], &actions, nullptr, argv.data(), environ);
  posix_spawn_file_actions_destroy(&actions);
  if (error != 0) Fail(absl::StrCat("cannot start ", arguments[0], ": ", std::strerror(error)));
  return pid;
}

void Pipe(int ends[2]) {
  if (pipe2(ends, O_CLOEXEC) != 0) Fail("no pipe");
}

}  // namespace

void Fail(const std::string& why) {
  std::fprintf(stderr, "error: %s\n", why.c_str());
  // Taken out, so that one that fails itself is not called again.
  for (const auto& clean : std::exchange(Cleaners(), {})) clean();
  for (const pid_t child : Children()) kill(child, SIGKILL);
  for (const std::string& folder : Scratches()) {
    std::error_code ignored;
    std::filesystem::remove_all(folder, ignored);
  }
  std::_Exit(1);
}

void OnFail(std::function<void()> clean) { Cleaners().push_back(std::move(clean)); }

void IgnoreLockCycles() { absl::SetMutexDeadlockDetectionMode(absl::OnDeadlockCycle::kIgnore); }

void Must(const absl::Status& status) {
  if (!status.ok()) Fail(status.ToString());
}

Options::Options(int argc, char** argv, const char* usage, int first) : usage_(usage) {
  for (int i = first; i < argc; ++i) {
    const std::string argument = argv[i];
    if (argument == "--help" || argument == "-h") {
      std::fputs(usage, stdout);
      std::exit(0);
    }
    const size_t equals = argument.find('=');
    if (argument.rfind("--", 0) != 0 || equals == std::string::npos) Usage(argument);
    given_[argument.substr(2, equals - 2)] = argument.substr(equals + 1);
  }
}

void Options::Usage(const std::string& what) {
  std::fprintf(stderr, "error: what is %s?\n%s", what.c_str(), usage_);
  std::exit(2);
}

std::string Options::Text(const char* name, const std::string& otherwise) {
  auto it = given_.find(name);
  if (it == given_.end()) return otherwise;
  std::string out = it->second;
  given_.erase(it);
  return out;
}

int Options::Int(const char* name, int otherwise, int least) {
  const std::string text = Text(name, absl::StrCat(otherwise));
  int out = 0;
  if (!absl::SimpleAtoi(text, &out) || out < least) Usage(absl::StrCat("--", name, "=", text));
  return out;
}

double Options::Number(const char* name, double otherwise) {
  const std::string text = Text(name, absl::StrCat(otherwise));
  double out = 0;
  if (!absl::SimpleAtod(text, &out) || out <= 0) Usage(absl::StrCat("--", name, "=", text));
  return out;
}

void Options::Done() {
  if (!given_.empty()) Usage("--" + given_.begin()->first);
}

double Now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

double ProcessCpu() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return Cpu(usage);
}

double Cpu(const rusage& usage) {
  auto seconds = [](const timeval& time) {
    return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_usec) * 1e-6;
  };
  return seconds(usage.ru_utime) + seconds(usage.ru_stime);
}

double CpuOf(pid_t pid) {
  clockid_t clock{};
  timespec time{};
  if (clock_getcpuclockid(pid, &clock) != 0 || clock_gettime(clock, &time) != 0) {
    Fail("a process of the benchmark has gone");
  }
  return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_nsec) * 1e-9;
}

int64_t PeakResident(const std::string& pid) {
  const std::string text = Must(base::ReadFile("/proc/" + pid + "/status"));
  const size_t at = text.find("VmHWM:");
  return at == std::string::npos ? 0 : std::atoll(text.c_str() + at + 6) * 1024;
}

Spread SpreadOf(std::vector<double> values) {
  if (values.empty()) return {};
  std::sort(values.begin(), values.end());
  auto quantile = [&](double q) {
    const double place = q * static_cast<double>(values.size() - 1);
    const size_t below = static_cast<size_t>(place);
    const size_t above = std::min(below + 1, values.size() - 1);
    return values[below] + (place - static_cast<double>(below)) * (values[above] - values[below]);
  };
  return {quantile(0.5), quantile(0.25), quantile(0.75)};
}

std::string Text(const Spread& spread, int decimals) {
  return absl::StrFormat("%.*f (%.*f–%.*f)", decimals, spread.median, decimals, spread.low,
                         decimals, spread.high);
}

std::string Self() {
  std::error_code error;
  std::string path = std::filesystem::read_symlink("/proc/self/exe", error).string();
  if (error) Fail("cannot find this program");
  return path;
}

Ran Run(const std::vector<std::string>& arguments) {
  int ends[2];
  Pipe(ends);
  const double start = Now();
  const pid_t pid = Spawn(arguments, -1, ends[1], "");
  close(ends[1]);
  Ran out;
  char buffer[4096];
  for (ssize_t got; (got = read(ends[0], buffer, sizeof(buffer))) > 0;) {
    out.out.append(buffer, static_cast<size_t>(got));
  }
  close(ends[0]);
  int status = 0;
  rusage usage{};
  if (wait4(pid, &status, 0, &usage) != pid) Fail("a process was lost");
  out.wall = Now() - start;
  out.cpu = Cpu(usage);
  if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) {
    Fail(absl::StrCat(arguments[0], " failed: ", out.out));
  }
  return out;
}

Process::Process(const std::vector<std::string>& arguments, const std::string& log) {
  int in[2], out[2];
  Pipe(in);
  Pipe(out);
  pid_ = Spawn(arguments, in[0], out[1], log.empty() ? "/dev/null" : log);
  close(in[0]);
  close(out[1]);
  in_ = in[1];
  out_ = out[0];
  Children().insert(pid_);
}

Process::~Process() {
  kill(pid_, SIGKILL);
  waitpid(pid_, nullptr, 0);
  Children().erase(pid_);
  close(in_);
  close(out_);
}

std::string Process::Line() {
  size_t end;
  while ((end = read_.find('\n')) == std::string::npos) {
    char buffer[4096];
    const ssize_t got = read(out_, buffer, sizeof(buffer));
    if (got <= 0) Fail("a process of the benchmark ended");
    read_.append(buffer, static_cast<size_t>(got));
  }
  std::string line = read_.substr(0, end);
  read_.erase(0, end + 1);
  return line;
}

void Process::Tell(const std::string& line) {
  const std::string text = line + "\n";
  if (write(in_, text.data(), text.size()) != static_cast<ssize_t>(text.size())) {
    Fail("a process of the benchmark does not listen");
  }
}

Scratch::Scratch(const std::string& parent) {
  std::string name = parent + "/oncomesh-bench-XXXXXX";
  if (mkdtemp(name.data()) == nullptr) Fail("cannot make a folder in " + parent);
  path_ = name;
  Scratches().insert(path_);
}

Scratch::~Scratch() {
  std::error_code ignored;
  std::filesystem::remove_all(path_, ignored);
  Scratches().erase(path_);
}

void PinToOneCore() {
  cpu_set_t set;
  CPU_ZERO(&set);
  CPU_SET(static_cast<size_t>(sched_getcpu()), &set);
  sched_setaffinity(0, sizeof(set), &set);
}

int FreePort() {
  const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof(address);
  if (bind(fd, reinterpret_cast<sockaddr*>(&address), size) != 0 ||
      getsockname(fd, reinterpret_cast<sockaddr*>(&address), &size) != 0) {
    Fail("no free port");
  }
  close(fd);
  return ntohs(address.sin_port);
}

void Row(const std::string& program, const std::string& what, const std::string& measured,
         const std::string& goal, bool met) {
  std::printf("| %s | `%s` | %s | %s | %s |\n", what.c_str(), program.c_str(), measured.c_str(),
              goal.c_str(),
              goal == "–" ? ""
              : met       ? "met"
                          : "missed");
  std::fflush(stdout);
}

}  // namespace oncomesh::bench
