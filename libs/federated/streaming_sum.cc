// SPDX-License-Identifier: Apache-2.0
#include "libs/federated/streaming_sum.h"

#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "absl/strings/str_cat.h"
#include "libs/base/error.h"
#include "libs/base/files.h"
#include "libs/base/status_macros.h"

namespace oncomesh::federated {
namespace {

// Sums and one summand's block together stay in a core's second-level cache, so that main memory is
// read once per update and not written.
constexpr uint64_t kBlock = 64 << 10;

absl::Status ShapeError(const std::string& tensor, absl::string_view what) {
  return base::Error(absl::StatusCode::kInvalidArgument, "UPDATE_SHAPE",
                     absl::StrCat("the update does not fit the model: ", what),
                     {{"tensor", tensor}});
}

template <typename T>
absl::Status AddBlock(const TensorFile& file, const TensorInfo& tensor, uint64_t first,
                      std::vector<T>& buffer, size_t n, int64_t weight, FixedPointSum& sum) {
  buffer.resize(n);
  RETURN_IF_ERROR(file.Read(tensor, first, absl::MakeSpan(buffer)));
  return sum.Add(absl::MakeConstSpan(buffer), weight);
}

template <typename T>
absl::StatusOr<double> MaximumOf(const TensorFile& file, const TensorInfo& tensor) {
  std::vector<T> buffer;
  double largest = 0;
  for (uint64_t first = 0; first < tensor.elements; first += kBlock) {
    buffer.resize(std::min(kBlock, tensor.elements - first));
    RETURN_IF_ERROR(file.Read(tensor, first, absl::MakeSpan(buffer)));
    ASSIGN_OR_RETURN(double block, MaxMagnitude(absl::MakeConstSpan(buffer)));
    largest = std::max(largest, block);
  }
  return largest;
}

}  // namespace

absl::StatusOr<Maxima> CheckUpdate(const TensorFile& update, const Template& expected) {
  for (const auto& [name, shape] : expected) {
    const TensorInfo* tensor = update.Find(name);
    if (tensor == nullptr) return ShapeError(name, "a tensor is missing");
    if (tensor->shape != shape) return ShapeError(name, "a tensor has another shape");
  }
  for (const auto& [name, tensor] : update.header().tensors) {
    if (expected.count(name) == 0) return ShapeError(name, "a tensor the plan does not name");
  }
  // Free text beside the tensors would be a way out for what the plan does not name.
  for (const auto& [key, value] : update.header().metadata) {
    if (key != "format" || (value != "np" && value != "pt" && value != "numpy")) {
      return base::Error(absl::StatusCode::kInvalidArgument, "UPDATE_METADATA",
                         "an update carries no metadata; write the tensors without it");
    }
  }
  Maxima maxima;
  for (const auto& [name, tensor] : update.header().tensors) {
    if (tensor.dtype == Dtype::kF32) {
      ASSIGN_OR_RETURN(maxima[name], MaximumOf<float>(update, tensor));
    } else {
      ASSIGN_OR_RETURN(maxima[name], MaximumOf<double>(update, tensor));
    }
  }
  return maxima;
}

absl::Status CheckRange(const Maxima& maxima, int64_t weight,
                        const std::map<std::string, double>& bounds) {
  for (const auto& [name, maximum] : maxima) {
    if (bounds.count(name) != 0) continue;
    if (!ScaleFor(static_cast<double>(weight) * maximum).ok()) {
      return base::Error(absl::StatusCode::kInvalidArgument, "UPDATE_RANGE",
                         "an update has numbers too large to be summed; look at the trainer",
                         {{"tensor", name}});
    }
  }
  return absl::OkStatus();
}

absl::StatusOr<StreamingSum> StreamingSum::Open(std::vector<Summand> summands,
                                                const std::map<std::string, double>& bounds) {
  if (summands.size() > kMaxContributors) {
    return base::Error(absl::StatusCode::kInvalidArgument, "TOO_MANY_CONTRIBUTORS",
                       absl::StrCat("a round has at most ", kMaxContributors, " contributors"));
  }
  StreamingSum sum;
  std::map<std::string, double> largest;
  for (const Summand& summand : summands) {
    ASSIGN_OR_RETURN(TensorFile file, TensorFile::Open(summand.path));
    sum.files_.push_back(std::move(file));
    sum.total_weight_ += summand.weight;
    for (const auto& [name, maximum] : summand.maxima) {
      double weighted = static_cast<double>(summand.weight) * maximum;
      largest[name] = std::max(largest[name], weighted);
    }
  }
  for (const auto& [name, maximum] : largest) {
    auto bound = bounds.find(name);
    ASSIGN_OR_RETURN(sum.scales_[name], ScaleFor(bound == bounds.end() ? maximum : bound->second));
  }
  for (size_t i = 1; i < sum.files_.size(); ++i) {
    for (const auto& [name, tensor] : sum.files_[0].header().tensors) {
      const TensorInfo* other = sum.files_[i].Find(name);
      if (other == nullptr || other->shape != tensor.shape) {
        return ShapeError(name, "the updates differ in shape");
      }
    }
  }
  sum.summands_ = std::move(summands);
  return sum;
}

absl::Status StreamingSum::ForEachBlock(
    const std::string& tensor,
    absl::FunctionRef<absl::Status(uint64_t first, const FixedPointSum& sum)> use) {
  const TensorInfo* shape = files_.empty() ? nullptr : files_[0].Find(tensor);
  auto scale = scales_.find(tensor);
  if (shape == nullptr || scale == scales_.end()) return ShapeError(tensor, "a tensor is missing");
  GridUse use_of_grid{scale->second, 0};
  FixedPointSum sum(0, scale->second);
  std::vector<float> narrow;
  std::vector<double> wide;
  for (uint64_t first = 0; first < shape->elements; first += kBlock) {
    size_t n = std::min(kBlock, shape->elements - first);
    sum.Reset(n, scale->second);
    for (size_t i = 0; i < files_.size(); ++i) {
      const TensorInfo& info = *files_[i].Find(tensor);
      if (info.dtype == Dtype::kF32) {
        RETURN_IF_ERROR(AddBlock(files_[i], info, first, narrow, n, summands_[i].weight, sum));
      } else {
        RETURN_IF_ERROR(AddBlock(files_[i], info, first, wide, n, summands_[i].weight, sum));
      }
    }
    use_of_grid.saturated += sum.saturated();
    RETURN_IF_ERROR(use(first, sum));
  }
  grids_[tensor] = use_of_grid;
  return absl::OkStatus();
}

absl::StatusOr<std::vector<double>> StreamingSum::Whole(const std::string& tensor) {
  std::vector<double> out;
  RETURN_IF_ERROR(ForEachBlock(tensor, [&](uint64_t, const FixedPointSum& sum) {
    std::vector<double> block = sum.Values();
    out.insert(out.end(), block.begin(), block.end());
    return absl::OkStatus();
  }));
  return out;
}

absl::StatusOr<TensorWriter> TensorWriter::Create(
    int fd, const std::vector<TensorSpec>& tensors,
    const std::map<std::string, std::string>& metadata) {
  Header layout;
  ASSIGN_OR_RETURN(std::string head, MakeHeader(tensors, metadata, &layout));
  TensorWriter writer(fd, std::move(layout));
  RETURN_IF_ERROR(writer.Write(head));
  return writer;
}

std::vector<TensorInfo> TensorWriter::Order() const {
  std::vector<TensorInfo> order;
  for (const auto& [name, tensor] : layout_.tensors) order.push_back(tensor);
  std::sort(order.begin(), order.end(), [](const TensorInfo& a, const TensorInfo& b) {
    // Empty tensors share their offset with the next one.
    return std::pair(a.begin, a.bytes()) < std::pair(b.begin, b.bytes());
  });
  return order;
}

absl::Status TensorWriter::Write(absl::string_view bytes) {
  hash_.Update(bytes);
  at_ += bytes.size();
  while (!bytes.empty()) {
    ssize_t put = write(fd_, bytes.data(), bytes.size());
    if (put < 0) {
      if (errno == EINTR) continue;
      return base::ErrnoStatus(errno, "write a tensor file");
    }
    bytes.remove_prefix(static_cast<size_t>(put));
  }
  return absl::OkStatus();
}

absl::Status TensorWriter::Append(const TensorInfo& tensor, absl::Span<const double> values) {
  uint64_t bytes = values.size() * SizeOf(tensor.dtype);
  if (at_ < tensor.begin || bytes > tensor.begin + tensor.bytes() - at_) {
    return base::Error(absl::StatusCode::kInvalidArgument, "TENSOR_SHAPE",
                       "values out of the order or beyond the end of their tensor");
  }
  if (tensor.dtype == Dtype::kF64) {
    return Write({reinterpret_cast<const char*>(values.data()), bytes});
  }
  narrow_.resize(values.size());
  for (size_t i = 0; i < values.size(); ++i) narrow_[i] = static_cast<float>(values[i]);
  return Write({reinterpret_cast<const char*>(narrow_.data()), bytes});
}

absl::StatusOr<std::string> TensorWriter::Finish() {
  if (at_ != layout_.file_bytes) {
    return base::Error(absl::StatusCode::kFailedPrecondition, "TENSOR_FILE_INCOMPLETE",
                       "not every tensor was written");
  }
  return hash_.FinishHex();
}

}  // namespace oncomesh::federated
