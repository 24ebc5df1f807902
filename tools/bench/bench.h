// SPDX-License-Identifier: Apache-2.0
// What the measuring programs share: options, child processes with their processor time, medians
// with their spread, and rows for doc/performance.md.
#pragma once

#include <sys/resource.h>
#include <sys/types.h>

#include <functional>
#include <map>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace oncomesh::bench {

// Ends the program with 1; its processes end and its scratch folders are removed.
[[noreturn]] void Fail(const std::string& why);
// What Fail does before it ends the program.
void OnFail(std::function<void()> clean);
// Turns Debian's search for lock cycles in Abseil off, as the services do (libs/rpc): gRPC takes
// dozens of locks in a call.
void IgnoreLockCycles();
void Must(const absl::Status& status);
template <typename T>
T Must(absl::StatusOr<T> value) {
  Must(value.status());
  return *std::move(value);
}

// Options `--name=value` of a program. `--help` prints the usage and ends it with 0; an unknown
// option or a value that is none ends it with 2.
class Options {
 public:
  // `usage` is all that --help prints. `first` is the index of the first option in argv.
  Options(int argc, char** argv, const char* usage, int first = 1);
  int Int(const char* name, int otherwise, int least = 1);
  double Number(const char* name, double otherwise);
  std::string Text(const char* name, const std::string& otherwise);
  // After the last option was asked for.
  void Done();

 private:
  [[noreturn]] void Usage(const std::string& what);
  const char* usage_;
  std::map<std::string, std::string> given_;
};

// Seconds.
double Now();         // of a steady clock
double ProcessCpu();  // user and system time of this process
double Cpu(const rusage& usage);
double CpuOf(pid_t pid);  // user and system time of another process, in nanosecond steps
// Peak resident memory of this process (VmHWM) or of another one, in bytes.
int64_t PeakResident(const std::string& pid = "self");

struct Spread {
  double median = 0;
  double low = 0, high = 0;  // the middle half lies between them
};
Spread SpreadOf(std::vector<double> values);
// "1.21 (1.19–1.24)".
std::string Text(const Spread& spread, int decimals = 2);

// Path of this program.
std::string Self();

// Runs a program to its end.
struct Ran {
  double wall = 0, cpu = 0;  // seconds
  std::string out;           // what it wrote to stdout
};
// Ends this program when the other one does not end with 0.
Ran Run(const std::vector<std::string>& arguments);

// A process that runs until it is destroyed (SIGKILL) or stopped.
class Process {
 public:
  // stderr of the process goes to `log`, or nowhere when it is empty.
  explicit Process(const std::vector<std::string>& arguments, const std::string& log = "");
  ~Process();
  Process(const Process&) = delete;
  Process& operator=(const Process&) = delete;
  // One line that it writes to stdout, without its end. Ends this program at the end of stdout.
  std::string Line();
  // Writes a line to its stdin.
  void Tell(const std::string& line);
  pid_t pid() const { return pid_; }

 private:
  pid_t pid_ = 0;
  int in_ = -1, out_ = -1;
  std::string read_;
};

// A folder below `parent` that is removed at the end, also when Fail ends the program.
class Scratch {
 public:
  explicit Scratch(const std::string& parent);
  ~Scratch();
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;
  const std::string& path() const { return path_; }
  std::string operator/(const std::string& name) const { return path_ + "/" + name; }

 private:
  std::string path_;
};

// Puts this process, and what it starts, on the core it runs on now.
void PinToOneCore();

// A TCP port of loopback that nobody uses now.
int FreePort();

// A row of the table in doc/performance.md; tools/bench/run collects them by their first character.
void Row(const std::string& program, const std::string& what, const std::string& measured,
         const std::string& goal, bool met);

}  // namespace oncomesh::bench
