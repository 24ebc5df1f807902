// SPDX-License-Identifier: Apache-2.0
#include "services/training/process_runner_filter.h"

#include <sched.h>
#include <seccomp.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <memory>

#include "absl/strings/string_view.h"
#include "libs/base/error.h"

namespace oncomesh::training {
namespace {

constexpr const char* kRefused[] = {
    // Other processes.
    "ptrace", "process_vm_readv", "process_vm_writev", "process_madvise", "kcmp", "pidfd_getfd",
    // Namespaces, mounts, roots.
    "unshare", "setns", "mount", "umount", "umount2", "pivot_root", "chroot", "move_mount",
    "open_tree", "fsopen", "fsconfig", "fsmount", "fspick", "mount_setattr", "open_by_handle_at",
    "swapon", "swapoff", "quotactl", "quotactl_fd",
    // Keys.
    "add_key", "request_key", "keyctl",
    // Programs in the kernel, and ways around its checks.
    "bpf", "perf_event_open", "userfaultfd", "io_uring_setup", "io_uring_enter",
    "io_uring_register", "seccomp", "fanotify_init", "lookup_dcookie",
    // The machine.
    "init_module", "finit_module", "delete_module", "create_module", "get_kernel_syms",
    "query_module", "kexec_load", "kexec_file_load", "reboot", "acct", "syslog", "iopl", "ioperm",
    "modify_ldt", "vm86", "vm86old", "uselib", "ustat", "sysfs", "_sysctl", "nfsservctl", "vhangup",
    "personality",
    // Time.
    "settimeofday", "clock_settime", "clock_settime64", "clock_adjtime", "clock_adjtime64",
    "adjtimex", "stime",
    // Where memory lies is the machine's business.
    "move_pages", "migrate_pages"};

bool Known(const char* name, int& call) {
  call = seccomp_syscall_resolve_name(name);
  return call != __NR_SCMP_ERROR;
}

bool Fill(scmp_filter_ctx filter) {
  int call = 0;
  for (const char* name : kRefused) {
    // One that this libseccomp or this machine does not have needs no rule.
    if (!Known(name, call) || call < 0) continue;
    if (seccomp_rule_add(filter, SCMP_ACT_ERRNO(EPERM), call, 0) != 0) return false;
  }
  // Without a new namespace clone is fork.
  constexpr uint64_t kNamespaces[] = {CLONE_NEWNS,   CLONE_NEWCGROUP, CLONE_NEWUTS, CLONE_NEWIPC,
                                      CLONE_NEWUSER, CLONE_NEWPID,    CLONE_NEWNET};
  for (uint64_t flag : kNamespaces) {
    if (seccomp_rule_add(filter, SCMP_ACT_ERRNO(EPERM), SCMP_SYS(clone), 1,
                         SCMP_A0(SCMP_CMP_MASKED_EQ, flag, flag)) != 0) {
      return false;
    }
  }
  if (seccomp_rule_add(filter, SCMP_ACT_ERRNO(ENOSYS), SCMP_SYS(clone3), 0) != 0) return false;
  // The kernel looks at the lower half of a request only.
  for (uint64_t request : {uint64_t{TIOCSTI}, uint64_t{TIOCLINUX}}) {
    if (seccomp_rule_add(filter, SCMP_ACT_ERRNO(EPERM), SCMP_SYS(ioctl), 1,
                         SCMP_A1(SCMP_CMP_MASKED_EQ, 0xffffffffu, request)) != 0) {
      return false;
    }
  }
  constexpr int kFamilies[] = {AF_UNSPEC, AF_UNIX, AF_INET, AF_INET6, AF_NETLINK};
  int next = 0;
  for (int allowed : kFamilies) {
    for (; next < allowed; ++next) {
      if (seccomp_rule_add(filter, SCMP_ACT_ERRNO(EAFNOSUPPORT), SCMP_SYS(socket), 1,
                           SCMP_A0_32(SCMP_CMP_EQ, static_cast<uint32_t>(next))) != 0) {
        return false;
      }
    }
    ++next;
  }
  return seccomp_rule_add(filter, SCMP_ACT_ERRNO(EAFNOSUPPORT), SCMP_SYS(socket), 1,
                          SCMP_A0_32(SCMP_CMP_GE, static_cast<uint32_t>(next))) == 0;
}

}  // namespace

absl::StatusOr<SystemCallFilter> SystemCallFilter::Make() {
  std::unique_ptr<void, decltype(&seccomp_release)> filter(seccomp_init(SCMP_ACT_ALLOW),
                                                           &seccomp_release);
  SystemCallFilter out(memfd_create("trainer-filter", MFD_CLOEXEC));
  if (filter == nullptr || out.fd_ < 0 || !Fill(filter.get()) ||
      seccomp_export_bpf(filter.get(), out.fd_) != 0 || lseek(out.fd_, 0, SEEK_SET) != 0) {
    return base::Error(absl::StatusCode::kFailedPrecondition, "RUNNER_UNAVAILABLE",
                       "the filter of system calls cannot be made, so no trainer is started");
  }
  return out;
}

SystemCallFilter::~SystemCallFilter() {
  if (fd_ >= 0) close(fd_);
}

}  // namespace oncomesh::training
