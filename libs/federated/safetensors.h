// SPDX-License-Identifier: Apache-2.0
// Models, updates and statistics as files in the safetensors format: an 8-byte little-endian
// length, a JSON header, the tensors' bytes (doc/formats/safetensors.md gives the subset and its
// limits). The reader trusts nothing: sizes are bounded before anything is allocated, offsets must
// cover the file without gap or overlap, names must stand once.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"

namespace oncomesh::federated {

inline constexpr uint64_t kMaxHeaderBytes = 8 << 20;
inline constexpr size_t kMaxTensors = 16384;
inline constexpr size_t kMaxDimensions = 8;
inline constexpr size_t kMaxTensorName = 256;      // bytes
inline constexpr size_t kMaxMetadataEntries = 64;  // each key and value at most 1,024 bytes
inline constexpr uint64_t kMaxTensorFileBytes = uint64_t{1} << 40;

enum class Dtype { kF32, kF64 };
size_t SizeOf(Dtype dtype);                             // bytes of one element
absl::string_view NameOf(Dtype dtype);                  // "F32", "F64"
absl::StatusOr<Dtype> DtypeOf(absl::string_view name);  // INVALID_ARGUMENT (TENSOR_DTYPE)

// One tensor of a file. Elements lie in row-major order, little-endian.
struct TensorInfo {
  std::string name;
  Dtype dtype = Dtype::kF64;
  std::vector<int64_t> shape;  // empty: a scalar
  uint64_t begin = 0;          // of its bytes, from the start of the file
  uint64_t elements = 0;

  uint64_t bytes() const { return elements * SizeOf(dtype); }
};

struct Header {
  std::map<std::string, TensorInfo> tensors;  // by name
  std::map<std::string, std::string> metadata;
  uint64_t data_begin = 0;  // from the start of the file
  uint64_t file_bytes = 0;
};

// The number of elements of `shape`. Errors: INVALID_ARGUMENT (TENSOR_SHAPE) for more than
// kMaxDimensions, a negative length, or a tensor beyond kMaxTensorFileBytes.
absl::StatusOr<uint64_t> ElementsOf(absl::Span<const int64_t> shape);

// Reads the header of a file of `file_bytes` that begins with `prefix`, which holds at least the
// header. Errors, all INVALID_ARGUMENT: TENSOR_FILE_INVALID (with what is wrong), TENSOR_DTYPE,
// TENSOR_SHAPE, TENSOR_FILE_TOO_LARGE.
absl::StatusOr<Header> ParseHeader(absl::string_view prefix, uint64_t file_bytes);

// A file opened for reading. Many threads may read.
class TensorFile {
 public:
  // Errors: those of ParseHeader; NOT_FOUND (FILE_NOT_FOUND).
  static absl::StatusOr<TensorFile> Open(const std::string& path);
  TensorFile(TensorFile&& other) noexcept;
  TensorFile& operator=(TensorFile&&) = delete;
  ~TensorFile();

  const Header& header() const { return header_; }
  // Null when there is none of this name.
  const TensorInfo* Find(const std::string& name) const;

  // Elements [first, first + out.size()) of a tensor of this file, in its own type.
  // Errors: UNAVAILABLE (FILE_ERROR), DATA_LOSS (TENSOR_FILE_CUT) when the file became shorter.
  absl::Status Read(const TensorInfo& tensor, uint64_t first, absl::Span<float> out) const;
  absl::Status Read(const TensorInfo& tensor, uint64_t first, absl::Span<double> out) const;
  // The whole tensor as float64. Errors as Read.
  absl::StatusOr<std::vector<double>> ReadAll(const TensorInfo& tensor) const;

 private:
  TensorFile(int fd, Header header) : fd_(fd), header_(std::move(header)) {}
  absl::Status ReadBytes(uint64_t offset, void* out, size_t bytes) const;
  int fd_;
  Header header_;
};

// A tensor to be written; name, dtype and shape are used.
struct TensorSpec {
  std::string name;
  Dtype dtype = Dtype::kF64;
  std::vector<int64_t> shape;
};

// The bytes before the data of a file with these tensors and metadata: F64 tensors first, then F32,
// each by name, so that everything is aligned; the header is padded with spaces to a multiple of 8.
// The same input gives the same bytes. `layout` receives where each tensor lies.
// Errors: INVALID_ARGUMENT (TENSOR_FILE_INVALID, TENSOR_SHAPE).
absl::StatusOr<std::string> MakeHeader(const std::vector<TensorSpec>& tensors,
                                       const std::map<std::string, std::string>& metadata,
                                       Header* layout);

// A small file in memory: every tensor with its values, which are written in its type.
struct Tensor {
  TensorSpec spec;
  std::vector<double> values;
};
// Errors: those of MakeHeader; INVALID_ARGUMENT (TENSOR_SHAPE) when values and shape disagree.
absl::StatusOr<std::string> WriteTensors(const std::vector<Tensor>& tensors,
                                         const std::map<std::string, std::string>& metadata = {});

}  // namespace oncomesh::federated
