// link: oncomesh::federated
// SPDX-License-Identifier: Apache-2.0
// Headers of tensor files. What is accepted covers the file exactly, and writing it again gives a
// header that reads the same.
#include <cstdint>
#include <cstdlib>

#include "libs/federated/safetensors.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace oncomesh::federated;
  absl::string_view bytes(reinterpret_cast<const char*>(data), size);
  absl::StatusOr<Header> header = ParseHeader(bytes, size);
  if (!header.ok()) return 0;
  uint64_t covered = header->data_begin;
  std::vector<TensorSpec> specs;
  for (const auto& [name, tensor] : header->tensors) {
    covered += tensor.bytes();
    if (tensor.begin < header->data_begin || tensor.begin + tensor.bytes() > size) std::abort();
    specs.push_back({name, tensor.dtype, tensor.shape});
  }
  if (covered != size) std::abort();
  Header layout;
  absl::StatusOr<std::string> again = MakeHeader(specs, header->metadata, &layout);
  if (!again.ok()) return 0;  // a header near the limit can grow by what JSON must escape
  again->resize(layout.file_bytes);
  absl::StatusOr<Header> reread = ParseHeader(*again, again->size());
  if (!reread.ok() || reread->tensors.size() != header->tensors.size() ||
      reread->metadata != header->metadata) {
    std::abort();
  }
  return 0;
}
