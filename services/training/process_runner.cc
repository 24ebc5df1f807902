// SPDX-License-Identifier: Apache-2.0
#include "services/training/process_runner.h"

#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <system_error>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "libs/base/child_process.h"
#include "libs/base/error.h"
#include "libs/base/status_macros.h"
#include "services/training/process_runner_filter.h"
#include "services/training/process_runner_watch.h"

namespace oncomesh::training {
namespace {

// Of the user in the sandbox; the watch on `tasks` ends a fork bomb, this slows it until then.
constexpr uint64_t kMaxProcesses = 4096;

// The root that bubblewrap builds is a tmpfs without a limit: nothing more is made in it.
void AddReadOnlyRoot(std::vector<std::string>& argv) {
  argv.insert(argv.end(), {"--remount-ro", "/"});
}

void Add(std::vector<std::string>& argv, std::initializer_list<absl::string_view> words) {
  for (absl::string_view word : words) argv.emplace_back(word);
}

// The word in "error: REASON: message" on the last line, or empty.
std::string ReasonIn(absl::string_view log) {
  log = absl::StripTrailingAsciiWhitespace(log);
  absl::string_view line =
      log.substr(log.rfind('\n') == absl::string_view::npos ? 0 : log.rfind('\n') + 1);
  std::vector<absl::string_view> parts = absl::StrSplit(line, absl::MaxSplits(": ", 2));
  if (parts.size() != 3 || parts[0] != "error" || parts[1].empty() || parts[1].size() > 63 ||
      parts[1].find_first_not_of("ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_") !=
          absl::string_view::npos) {
    return "";
  }
  return std::string(parts[1]);
}

// What the outside may hear of a trainer's failure is one of these words: a trainer could spell a
// value of a patient in a reason of its own.
std::string PublicReason(const std::string& reason) {
  static constexpr absl::string_view kKnown[] = {"TASK_MISSING",
                                                 "TASK_INVALID",
                                                 "TENSOR_FILE_INVALID",
                                                 "MODEL_MISSING",
                                                 "MODEL_SHAPE",
                                                 "MODALITY_MISSING",
                                                 "MASK_MISSING",
                                                 "CASE_UNREADABLE",
                                                 "CASE_NOT_FINITE",
                                                 "GRID_MISMATCH",
                                                 "HYPERPARAMETER_INVALID",
                                                 "STATISTICS_MISSING",
                                                 "STATISTICS_SHAPE",
                                                 "SAMPLES_INVALID",
                                                 "NO_CASES",
                                                 "NO_EXAMPLES",
                                                 "UPDATE_NOT_FINITE",
                                                 "OUT_OF_MEMORY",
                                                 "TRAINER_FAILED"};
  for (absl::string_view known : kKnown) {
    if (reason == known) {
      return reason == "OUT_OF_MEMORY" ? "TRAINER_OUT_OF_MEMORY" : reason;
    }
  }
  return "TRAINER_FAILED";
}

}  // namespace

std::vector<std::string> ProcessRunner::Sandbox(bool with_proc) const {
  std::vector<std::string> argv = {options_.bubblewrap};
  Add(argv, {"--unshare-user", "--unshare-ipc", "--unshare-pid", "--unshare-net", "--unshare-uts",
             "--unshare-cgroup-try", "--die-with-parent", "--new-session", "--cap-drop", "ALL",
             "--uid", "65534", "--gid", "65534", "--hostname", "trainer"});
  Add(argv, {"--ro-bind", "/usr", "/usr"});
  for (const char* top : {"/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32"}) {
    std::error_code error;
    const auto status = std::filesystem::symlink_status(top, error);
    if (error || !std::filesystem::exists(status)) continue;
    if (std::filesystem::is_symlink(status)) {
      Add(argv, {"--symlink", std::filesystem::read_symlink(top, error).string(), top});
    } else {
      Add(argv, {"--ro-bind", top, top});
    }
  }
  Add(argv, {"--ro-bind-try", "/etc/alternatives", "/etc/alternatives", "--ro-bind-try",
             "/etc/ld.so.cache", "/etc/ld.so.cache"});
  if (with_proc) Add(argv, {"--proc", "/proc"});
  Add(argv, {"--dev", "/dev", "--size", absl::StrCat(options_.temporary_bytes), "--tmpfs",
             "/dev/shm", "--remount-ro", "/dev", "--size", absl::StrCat(options_.temporary_bytes),
             "--tmpfs", "/tmp", "--dir", "/work"});
  // After /tmp is made: an environment may stand below it.
  for (const std::string& folder : options_.readable) Add(argv, {"--ro-bind", folder, folder});
  return argv;
}

absl::Status ProcessRunner::Probe(bool with_proc) const {
  ASSIGN_OR_RETURN(SystemCallFilter filter, SystemCallFilter::Make());
  base::ChildCommand command;
  command.argv = Sandbox(with_proc);
  AddReadOnlyRoot(command.argv);
  Add(command.argv, {"--seccomp", absl::StrCat(filter.descriptor()), "--", "/usr/bin/true"});
  command.descriptors = {filter.descriptor()};
  command.environment = {"PATH=/usr/bin:/bin"};
  command.deadline = absl::Seconds(20);
  absl::StatusOr<base::ChildResult> result = base::RunChild(command);
  if (result.ok() && result->end == base::ChildResult::End::kExited && result->exit_status == 0) {
    return absl::OkStatus();
  }
  std::string why = result.ok() ? std::string(absl::StripAsciiWhitespace(result->errors))
                                : std::string(result.status().message());
  return base::Error(
      absl::StatusCode::kFailedPrecondition, "RUNNER_UNAVAILABLE",
      absl::StrCat("trainers cannot be confined on this machine, so none is started (", why,
                   "); install bubblewrap and allow user namespaces "
                   "(kernel.unprivileged_userns_clone, user.max_user_namespaces)"));
}

absl::Status ProcessRunner::Check() {
  base::MutexLock lock(mutex_);
  if (checked_) return absl::OkStatus();
  absl::Status status = Probe(true);
  with_proc_ = status.ok();
  // In some containers the kernel does not let a new /proc be mounted. A trainer without /proc is
  // confined no less.
  if (!status.ok() && !Probe(false).ok()) return status;
  checked_ = true;
  return absl::OkStatus();
}

absl::StatusOr<TrainerEnd> ProcessRunner::Run(const TrainerJob& job,
                                              absl::FunctionRef<bool()> go_on) {
  RETURN_IF_ERROR(Check());
  bool with_proc = true;
  {
    base::MutexLock lock(mutex_);
    with_proc = with_proc_;
  }
  ASSIGN_OR_RETURN(SystemCallFilter filter, SystemCallFilter::Make());
  base::ChildCommand command;
  command.argv = Sandbox(with_proc);
  command.descriptors = {filter.descriptor()};
  Add(command.argv,
      {"--ro-bind", job.trainer_folder, "/trainer", "--ro-bind", job.task_file, "/work/task.json",
       "--bind", job.out_folder, "/out", "--bind", job.cache_folder, "/cache"});
  for (const auto& [from, to] : job.inputs) Add(command.argv, {"--ro-bind", from, to});
  AddReadOnlyRoot(command.argv);
  Add(command.argv, {"--seccomp", absl::StrCat(filter.descriptor()), "--chdir", "/trainer", "--"});
  command.argv.insert(command.argv.end(), job.command.begin(), job.command.end());
  std::string path;
  for (const std::string& folder : options_.path) absl::StrAppend(&path, folder, ":");
  command.environment = {absl::StrCat("PATH=", path, "/usr/local/bin:/usr/bin:/bin"),
                         "HOME=/tmp",
                         "TMPDIR=/tmp",
                         "LANG=C.UTF-8",
                         "ONCOMESH_TASK=/work/task.json",
                         "PYTHONDONTWRITEBYTECODE=1",
                         "PYTHONHASHSEED=0"};
  command.limits.memory_bytes = options_.memory_bytes;
  command.limits.file_bytes = options_.file_bytes;
  command.limits.cpu_time = options_.cpu_time;
  command.limits.open_files = 4096;
  command.limits.processes = kMaxProcesses;
  command.deadline = job.time_limit;
  ProcessTree tree(options_.memory_bytes, options_.tasks);
  DiskWatch disk({job.out_folder, job.cache_folder}, options_.disk_bytes);
  command.started = [&](int pid) { tree.Start(pid); };
  auto within_limits = [&] {
    return go_on() && tree.WithinLimits() && disk.WithinLimit(tree.processes());
  };
  ASSIGN_OR_RETURN(base::ChildResult result, base::RunChild(command, within_limits));
  TrainerEnd end;
  end.peak_memory_bytes = std::max(result.peak_memory_bytes, tree.peak_memory_bytes());
  end.cpu_time = result.cpu_time;
  end.log = result.output + result.errors;
  switch (result.end) {
    case base::ChildResult::End::kDeadline:
      end.reason = "TRAINER_TIMEOUT";
      break;
    case base::ChildResult::End::kStopped:
      end.reason = disk.exceeded() ? "TRAINER_DISK" : tree.exceeded();
      if (end.reason.empty()) end.reason = "STOPPED";
      break;
    case base::ChildResult::End::kSignalled:
      end.reason = "TRAINER_FAILED";
      break;
    case base::ChildResult::End::kExited:
      // What it wrote since the last look counts too.
      end.succeeded = result.exit_status == 0 && disk.Look({});
      if (disk.exceeded()) {
        end.reason = "TRAINER_DISK";
        break;
      }
      // bubblewrap reports a child that a signal ended as 128 + signal.
      if (result.exit_status == 128 + SIGKILL) {
        end.reason = "TRAINER_OUT_OF_MEMORY";
      } else if (result.exit_status == 128 + SIGXCPU) {
        end.reason = "TRAINER_TIMEOUT";
      } else if (!end.succeeded) {
        end.reason = PublicReason(ReasonIn(result.errors));
      }
      break;
  }
  return end;
}

}  // namespace oncomesh::training
