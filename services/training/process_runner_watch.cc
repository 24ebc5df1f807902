// SPDX-License-Identifier: Apache-2.0
#include "services/training/process_runner_watch.h"

#include <dirent.h>
#include <unistd.h>

#include <algorithm>
#include <map>
#include <memory>
#include <utility>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/time/clock.h"
#include "libs/base/files.h"

namespace oncomesh::training {
namespace {

struct Process {
  int parent = 0;
  int64_t threads = 0;
  uint64_t resident = 0;  // bytes
};

// proc(5), /proc/pid/stat: the name in parentheses may hold anything, so fields count from its end.
bool ReadProcess(int pid, Process& out) {
  absl::StatusOr<std::string> stat = base::ReadFile(absl::StrCat("/proc/", pid, "/stat"), 4096);
  if (!stat.ok()) return false;
  const size_t end = stat->rfind(')');
  if (end == std::string::npos || end + 2 > stat->size()) return false;
  std::vector<absl::string_view> fields =
      absl::StrSplit(absl::string_view(*stat).substr(end + 2), ' ');
  // From field 3 (state): 4 is the parent, 20 the threads, 24 the resident pages.
  int64_t pages = 0;
  if (fields.size() < 22 || !absl::SimpleAtoi(fields[1], &out.parent) ||
      !absl::SimpleAtoi(fields[17], &out.threads) || !absl::SimpleAtoi(fields[21], &pages)) {
    return false;
  }
  out.resident = static_cast<uint64_t>(std::max<int64_t>(pages, 0)) *
                 static_cast<uint64_t>(sysconf(_SC_PAGESIZE));
  return true;
}

std::map<int, Process> AllProcesses() {
  std::map<int, Process> out;
  std::unique_ptr<DIR, int (*)(DIR*)> folder(opendir("/proc"), &closedir);
  if (folder == nullptr) return out;
  while (const dirent* entry = readdir(folder.get())) {
    int pid = 0;
    Process process;
    if (absl::SimpleAtoi(entry->d_name, &pid) && ReadProcess(pid, process)) out[pid] = process;
  }
  return out;
}

// The proportional share of one process; `resident` where the kernel does not tell.
uint64_t ProportionalShare(int pid, uint64_t resident) {
  absl::StatusOr<std::string> rollup =
      base::ReadFile(absl::StrCat("/proc/", pid, "/smaps_rollup"), 16 << 10);
  if (!rollup.ok()) {
    // Gone, or about to: its memory is given back already. Otherwise the kernel has no such file.
    Process now;
    return ReadProcess(pid, now) ? now.resident : 0;
  }
  for (absl::string_view line : absl::StrSplit(*rollup, '\n')) {
    std::vector<absl::string_view> words = absl::StrSplit(line, ' ', absl::SkipEmpty());
    uint64_t kib = 0;
    if (words.size() >= 2 && words[0] == "Pss:" && absl::SimpleAtoi(words[1], &kib)) {
      return std::min(resident, kib * 1024);
    }
  }
  return resident;
}

}  // namespace

bool ProcessTree::WithinLimits() {
  if (root_ == 0 || !exceeded_.empty()) return exceeded_.empty();
  const absl::Time now = absl::Now();
  if (now < looked_ + absl::Milliseconds(180)) return true;
  looked_ = now;
  const std::map<int, Process> all = AllProcesses();
  std::multimap<int, int> children;
  for (const auto& [pid, process] : all) children.emplace(process.parent, pid);
  std::vector<int> tree = {root_};
  int64_t tasks = 0;
  uint64_t memory = 0;
  for (size_t i = 0; i < tree.size(); ++i) {
    auto found = all.find(tree[i]);
    if (found == all.end()) continue;
    tasks += found->second.threads;
    memory += found->second.resident;
    auto [begin, end] = children.equal_range(tree[i]);
    for (auto child = begin; child != end; ++child) tree.push_back(child->second);
  }
  if (tasks > task_limit_) exceeded_ = "TRAINER_PROCESSES";
  if (memory > memory_limit_ && exceeded_.empty()) {
    memory = 0;
    for (int pid : tree) {
      auto found = all.find(pid);
      if (found != all.end()) memory += ProportionalShare(pid, found->second.resident);
    }
    if (memory > memory_limit_) exceeded_ = "TRAINER_OUT_OF_MEMORY";
  }
  peak_ = std::max(peak_, memory);
  return exceeded_.empty();
}

}  // namespace oncomesh::training
