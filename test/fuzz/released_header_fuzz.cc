// link: oncomesh::catalogue_service
// SPDX-License-Identifier: Apache-2.0
// Headers of objects in the store, plain and deflated.
#include <sys/mman.h>
#include <unistd.h>

#include <cstdint>
#include <cstdlib>

#include "absl/strings/str_cat.h"
#include "services/catalogue/released_header.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  int file = memfd_create("object", MFD_CLOEXEC);
  if (file < 0 || write(file, data, size) != static_cast<ssize_t>(size)) std::abort();
  auto header = oncomesh::catalogue::ReadReleasedHeader(absl::StrCat("/proc/self/fd/", file),
                                                        oncomesh::terminology::Registry::Builtin());
  close(file);
  if (header.ok() &&
      (header->patient_code.empty() || header->sop_instance_uid.empty() || header->bytes != size)) {
    std::abort();
  }
  return 0;
}
