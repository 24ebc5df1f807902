// SPDX-License-Identifier: Apache-2.0
#include "services/training/process_runner_watch.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <map>
#include <memory>
#include <set>
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

constexpr int kDeepest = 64;
constexpr uint64_t kName = 4096;

// Adds what is below the open folder, which it closes.
void AddFolder(int fd, int depth, uint64_t enough, uint64_t& bytes) {
  std::unique_ptr<DIR, int (*)(DIR*)> folder(fd < 0 ? nullptr : fdopendir(fd), &closedir);
  if (folder == nullptr) {
    if (fd >= 0) close(fd);
    bytes = std::max(bytes, enough);
    return;
  }
  while (bytes < enough) {
    const dirent* entry = readdir(folder.get());
    if (entry == nullptr) return;
    const std::string name = entry->d_name;
    if (name == "." || name == "..") continue;
    struct stat info{};
    // Gone since: the trainer is at work.
    if (fstatat(dirfd(folder.get()), name.c_str(), &info, AT_SYMLINK_NOFOLLOW) != 0) continue;
    bytes += kName + static_cast<uint64_t>(info.st_blocks) * 512;
    if (!S_ISDIR(info.st_mode)) continue;
    const int below = depth < kDeepest ? openat(dirfd(folder.get()), name.c_str(),
                                                O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)
                                       : -1;
    if (below < 0 && depth < kDeepest && (errno == ENOENT || errno == ENOTDIR || errno == ELOOP)) {
      continue;  // gone since, or replaced
    }
    AddFolder(below, depth + 1, enough, bytes);
  }
}

// Adds the files that the processes have open on this disk and that no folder names any more.
void AddOpenFiles(const std::vector<int>& processes, dev_t disk, uint64_t& bytes) {
  std::set<ino_t> seen;
  for (int pid : processes) {
    const std::string path = absl::StrCat("/proc/", pid, "/fd");
    std::unique_ptr<DIR, int (*)(DIR*)> folder(opendir(path.c_str()), &closedir);
    if (folder == nullptr) continue;
    while (const dirent* entry = readdir(folder.get())) {
      struct stat info{};
      if (fstatat(dirfd(folder.get()), entry->d_name, &info, 0) != 0) continue;
      if (!S_ISREG(info.st_mode) || info.st_nlink != 0 || info.st_dev != disk) continue;
      if (seen.insert(info.st_ino).second) bytes += static_cast<uint64_t>(info.st_blocks) * 512;
    }
  }
}

}  // namespace

uint64_t DiskUse(const std::vector<std::string>& folders, uint64_t enough) {
  uint64_t bytes = 0;
  for (const std::string& folder : folders) {
    AddFolder(open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC), 0, enough, bytes);
  }
  return bytes;
}

bool DiskWatch::Look(const std::vector<int>& processes) {
  if (exceeded_) return false;
  uint64_t bytes = DiskUse(folders_, limit_ + 1);
  struct stat info{};
  if (!folders_.empty() && stat(folders_[0].c_str(), &info) == 0) {
    AddOpenFiles(processes, info.st_dev, bytes);
  }
  exceeded_ = bytes > limit_;
  return !exceeded_;
}

bool DiskWatch::WithinLimit(const std::vector<int>& processes) {
  const absl::Time now = absl::Now();
  if (exceeded_ || now < next_) return !exceeded_;
  const bool within = Look(processes);
  const absl::Time done = absl::Now();
  next_ = done + std::max(absl::Seconds(2), 10 * (done - now));
  return within;
}

bool ProcessTree::WithinLimits() {
  if (root_ == 0 || !exceeded_.empty()) return exceeded_.empty();
  const absl::Time now = absl::Now();
  if (now < looked_ + absl::Milliseconds(180)) return true;
  looked_ = now;
  const std::map<int, Process> all = AllProcesses();
  std::multimap<int, int> children;
  for (const auto& [pid, process] : all) children.emplace(process.parent, pid);
  std::vector<int>& tree = tree_;
  tree = {root_};
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
