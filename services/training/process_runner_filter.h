// SPDX-License-Identifier: Apache-2.0
// The system calls that a trainer is refused, as a seccomp filter for bubblewrap.
#pragma once

#include <utility>

#include "absl/status/statusor.h"

namespace oncomesh::training {

// Refused are calls that programs which compute never need and that have opened kernels before:
// tracing others, new namespaces and mounts, kernel keys, BPF, performance counters, io_uring,
// userfaultfd, modules, time, typing into a terminal, and every kind of socket but Unix, IP and
// route information. They fail with EPERM (sockets: EAFNOSUPPORT; clone3: ENOSYS, since its flags
// cannot be seen and the C library then takes clone). A call of a foreign architecture ends the
// process. The same idea as Flatpak's and Docker's default filters. Owns a descriptor.
class SystemCallFilter {
 public:
  // Errors: FAILED_PRECONDITION (RUNNER_UNAVAILABLE) when libseccomp cannot make it.
  static absl::StatusOr<SystemCallFilter> Make();
  SystemCallFilter(SystemCallFilter&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  SystemCallFilter& operator=(SystemCallFilter&&) = delete;
  ~SystemCallFilter();

  // The program in the kernel's form, to be read from its beginning, once.
  int descriptor() const { return fd_; }

 private:
  explicit SystemCallFilter(int fd) : fd_(fd) {}
  int fd_;
};

}  // namespace oncomesh::training
