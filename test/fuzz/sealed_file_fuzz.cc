// link: oncomesh::deidentification_service
// SPDX-License-Identifier: Apache-2.0
// Any bytes as a sealed file: what was not sealed with the key is never handed out.
#include <sys/mman.h>
#include <unistd.h>

#include <cstdint>
#include <cstdlib>
#include <string>

#include "services/deidentification/sealed_file.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace oncomesh::deidentification;  // NOLINT
  int fd = memfd_create("sealed", MFD_CLOEXEC);
  if (fd < 0 || write(fd, data, size) != static_cast<ssize_t>(size)) std::abort();
  size_t taken = 0;
  absl::Status status = UnsealFile("/proc/self/fd/" + std::to_string(fd), std::string(32, 'k'),
                                   [&](absl::string_view part) {
                                     taken += part.size();
                                     return absl::OkStatus();
                                   });
  close(fd);
  // The corpus has one genuine file, of the bytes "an original"; nobody forges another.
  if (taken != (status.ok() ? 11u : 0u)) std::abort();
  return 0;
}
