// SPDX-License-Identifier: Apache-2.0
// The sum of many updates that lie in files, in memory that depends neither on their number nor on
// their size: block after block of every tensor is read from each file in turn, added exactly, and
// handed on.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "libs/crypto/digest.h"
#include "libs/federated/fixed_point.h"
#include "libs/federated/safetensors.h"

namespace oncomesh::federated {

// The most updates of one sum: each has a file open.
inline constexpr size_t kMaxContributors = 512;

// What an update must look like: the shape of each tensor by name. The type may be F32 or F64.
using Template = std::map<std::string, std::vector<int64_t>>;
// The largest magnitude in each tensor, by name.
using Maxima = std::map<std::string, double>;

// OK when the file has exactly the tensors of `expected`, no NaN or infinity, and no metadata but
// the "format" that Python libraries set; returns the magnitudes. Errors, INVALID_ARGUMENT:
// UPDATE_SHAPE (naming the tensor), UPDATE_NOT_FINITE, UPDATE_METADATA.
absl::StatusOr<Maxima> CheckUpdate(const TensorFile& update, const Template& expected);

// OK when the sum can hold `weight` times numbers of these magnitudes, in the tensors for which the
// plan sets no bound. One update of 1e308 would otherwise end the run for everybody.
// Errors: INVALID_ARGUMENT (UPDATE_RANGE) naming the tensor.
absl::Status CheckRange(const Maxima& maxima, int64_t weight,
                        const std::map<std::string, double>& bounds);

// One update, checked with CheckUpdate before.
struct Summand {
  std::string path;
  int64_t weight = 1;  // 1…kMaxWeight
  Maxima maxima;
};

// How a tensor was summed; stands in the round manifest.
struct GridUse {
  int scale = 0;          // the grid is 2^-scale
  int64_t saturated = 0;  // values cut at the bound
};

class StreamingSum {
 public:
  // `bounds` gives a public bound on |weight · x| for some tensors, from the plan; what exceeds it
  // is cut and counted. A tensor without one gets the finest grid that holds the largest
  // |weight · x| of these summands, so that nothing is cut; the grid then depends on the set of
  // summands, not on their order. Errors: those of TensorFile::Open; INVALID_ARGUMENT
  // (TOO_MANY_CONTRIBUTORS, BOUND_INVALID, UPDATE_SHAPE).
  static absl::StatusOr<StreamingSum> Open(std::vector<Summand> summands,
                                           const std::map<std::string, double>& bounds);

  // Calls `use` with the finished sums of elements [first, first + sum.size()) of the tensor, in
  // ascending order of `first`. Errors: those of reading and of `use`; a file that changed since it
  // was checked gives INVALID_ARGUMENT (UPDATE_NOT_FINITE) at worst.
  absl::Status ForEachBlock(
      const std::string& tensor,
      absl::FunctionRef<absl::Status(uint64_t first, const FixedPointSum& sum)> use);

  // A whole tensor's sums; for those that are solved with, not streamed.
  absl::StatusOr<std::vector<double>> Whole(const std::string& tensor);

  // Of the tensors summed so far.
  const std::map<std::string, GridUse>& grids() const { return grids_; }
  int64_t total_weight() const { return total_weight_; }

 private:
  StreamingSum() = default;
  std::vector<Summand> summands_;
  std::vector<TensorFile> files_;
  std::map<std::string, int> scales_;
  std::map<std::string, GridUse> grids_;
  int64_t total_weight_ = 0;
};

// Writes a tensor file from front to back and hashes it on the way. One thread.
class TensorWriter {
 public:
  // `fd` stays the caller's. Errors: those of MakeHeader; RESOURCE_EXHAUSTED (DISK_FULL).
  static absl::StatusOr<TensorWriter> Create(int fd, const std::vector<TensorSpec>& tensors,
                                             const std::map<std::string, std::string>& metadata);

  // The tensors in the order in which they must be written.
  std::vector<TensorInfo> Order() const;
  const Header& layout() const { return layout_; }
  // The next values, in the type of the tensor that is due.
  // Errors: INVALID_ARGUMENT (TENSOR_SHAPE) for more values than are left of this tensor;
  // RESOURCE_EXHAUSTED (DISK_FULL).
  absl::Status Append(const TensorInfo& tensor, absl::Span<const double> values);
  // The file's SHA-256 (hex) and size. Errors: FAILED_PRECONDITION (TENSOR_FILE_INCOMPLETE).
  absl::StatusOr<std::string> Finish();
  uint64_t bytes() const { return at_; }

 private:
  TensorWriter(int fd, Header layout) : fd_(fd), layout_(std::move(layout)) {}
  absl::Status Write(absl::string_view bytes);
  int fd_;
  Header layout_;
  uint64_t at_ = 0;
  crypto::Sha256 hash_;
  std::vector<float> narrow_;
};

}  // namespace oncomesh::federated
