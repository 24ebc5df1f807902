// SPDX-License-Identifier: Apache-2.0
#include "libs/federated/safetensors.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <bit>
#include <cerrno>
#include <cstring>
#include <limits>
#include <nlohmann/json.hpp>
#include <set>
#include <utility>

#include "absl/strings/str_cat.h"
#include "libs/base/error.h"
#include "libs/base/files.h"
#include "libs/base/log.h"
#include "libs/base/status_macros.h"

namespace oncomesh::federated {
namespace {

static_assert(std::endian::native == std::endian::little,
              "tensors are read as they lie in the file");

absl::Status Invalid(absl::string_view what) {
  return base::Error(absl::StatusCode::kInvalidArgument, "TENSOR_FILE_INVALID",
                     absl::StrCat("not a safetensors file as oncomesh reads it: ", what));
}

// Events of the JSON parser become the header. The parser keeps no document, does not recurse, and
// stops at the first event that returns false.
class HeaderReader final : public nlohmann::json_sax<nlohmann::json> {
 public:
  struct Raw {
    bool has_dtype = false, has_shape = false, has_offsets = false;
    Dtype dtype = Dtype::kF64;
    std::vector<int64_t> shape;
    std::vector<uint64_t> offsets;
  };
  std::map<std::string, Raw> tensors;
  std::map<std::string, std::string> metadata;
  absl::Status status;

  bool null() override { return Fail("a null in the header"); }
  bool boolean(bool) override { return Fail("a truth value in the header"); }
  bool number_float(number_float_t, const string_t&) override {
    return Fail("a number in the header that is not a whole one");
  }
  bool binary(binary_t&) override { return Fail("binary in the header"); }
  bool number_integer(number_integer_t) override { return Fail("a negative number in the header"); }
  bool number_unsigned(number_unsigned_t value) override {
    if (state_ == kShape) {
      Raw& raw = tensors[tensor_];
      if (raw.shape.size() == kMaxDimensions) return Fail("a tensor of more than 8 dimensions");
      if (value > static_cast<uint64_t>(std::numeric_limits<int64_t>::max())) {
        return Fail("a length beyond 63 bits");
      }
      raw.shape.push_back(static_cast<int64_t>(value));
      return true;
    }
    if (state_ == kOffsets) {
      Raw& raw = tensors[tensor_];
      if (raw.offsets.size() == 2) return Fail("data_offsets with more than two numbers");
      raw.offsets.push_back(value);
      return true;
    }
    return Fail("a number where none belongs");
  }
  bool string(string_t& value) override {
    if (state_ == kMetadata) {
      if (value.size() > 1024) return Fail("a metadata value of more than 1,024 bytes");
      metadata[key_] = value;
      return true;
    }
    if (state_ == kTensor && key_ == "dtype") {
      absl::StatusOr<Dtype> dtype = DtypeOf(value);
      if (!dtype.ok()) {
        status = dtype.status();
        return false;
      }
      tensors[tensor_].dtype = *dtype;
      tensors[tensor_].has_dtype = true;
      return true;
    }
    return Fail("a string where none belongs");
  }
  bool start_object(std::size_t) override {
    if (state_ == kStart) {
      state_ = kTop;
      return true;
    }
    if (state_ == kTopValue) {
      state_ = in_metadata_ ? kMetadata : kTensor;
      return true;
    }
    return Fail("an object where none belongs");
  }
  bool key(string_t& value) override {
    if (state_ == kTop) {
      if (value.empty() || value.size() > kMaxTensorName) {
        return Fail("a tensor name that is empty or longer than 256 bytes");
      }
      in_metadata_ = value == "__metadata__";
      if (in_metadata_) {
        if (seen_metadata_) return Fail("__metadata__ twice");
        seen_metadata_ = true;
      } else {
        if (tensors.size() == kMaxTensors) return Fail("more than 16,384 tensors");
        if (!tensors.emplace(value, Raw()).second) return Fail("a tensor name twice");
        tensor_ = value;
        fields_.clear();
      }
      state_ = kTopValue;
      return true;
    }
    if (state_ == kMetadata) {
      if (metadata.size() == kMaxMetadataEntries) return Fail("more than 64 metadata entries");
      if (value.size() > 1024) return Fail("a metadata key of more than 1,024 bytes");
      if (metadata.count(value) != 0) return Fail("a metadata key twice");
      key_ = value;
      return true;
    }
    if (state_ == kTensor) {
      if (!fields_.insert(value).second) return Fail("a field of a tensor twice");
      if (value != "dtype" && value != "shape" && value != "data_offsets") {
        return Fail("a field of a tensor that is not dtype, shape or data_offsets");
      }
      key_ = value;
      return true;
    }
    return Fail("a key where none belongs");
  }
  bool end_object() override {
    state_ = state_ == kTop ? kEnd : kTop;
    return true;
  }
  bool start_array(std::size_t) override {
    if (state_ == kTensor && key_ == "shape") {
      tensors[tensor_].has_shape = true;
      state_ = kShape;
      return true;
    }
    if (state_ == kTensor && key_ == "data_offsets") {
      tensors[tensor_].has_offsets = true;
      state_ = kOffsets;
      return true;
    }
    return Fail("an array where none belongs");
  }
  bool end_array() override {
    state_ = kTensor;
    return true;
  }
  bool parse_error(std::size_t, const std::string&, const nlohmann::detail::exception&) override {
    return Fail("the header is not JSON");
  }

 private:
  bool Fail(absl::string_view what) {
    if (status.ok()) status = Invalid(what);
    return false;
  }
  enum State {
    kStart,
    kTop,
    kTopValue,
    kMetadata,
    kTensor,
    kShape,
    kOffsets,
    kEnd
  } state_ = kStart;
  bool in_metadata_ = false, seen_metadata_ = false;
  std::string tensor_, key_;
  std::set<std::string> fields_;
};

}  // namespace

size_t SizeOf(Dtype dtype) { return dtype == Dtype::kF32 ? 4 : 8; }
absl::string_view NameOf(Dtype dtype) { return dtype == Dtype::kF32 ? "F32" : "F64"; }

absl::StatusOr<Dtype> DtypeOf(absl::string_view name) {
  if (name == "F32") return Dtype::kF32;
  if (name == "F64") return Dtype::kF64;
  return base::Error(absl::StatusCode::kInvalidArgument, "TENSOR_DTYPE",
                     "tensors are F32 or F64; convert the others before they are written");
}

absl::StatusOr<uint64_t> ElementsOf(absl::Span<const int64_t> shape) {
  auto error = [](absl::string_view what) {
    return base::Error(absl::StatusCode::kInvalidArgument, "TENSOR_SHAPE", what);
  };
  if (shape.size() > kMaxDimensions) return error("a tensor has at most 8 dimensions");
  uint64_t elements = 1;
  for (int64_t length : shape) {
    if (length < 0) return error("a tensor has a negative length");
    if (__builtin_mul_overflow(elements, static_cast<uint64_t>(length), &elements) ||
        elements > kMaxTensorFileBytes / 8) {
      return error("a tensor is larger than 1 TiB");
    }
  }
  return elements;
}

absl::StatusOr<Header> ParseHeader(absl::string_view prefix, uint64_t file_bytes) {
  if (file_bytes > kMaxTensorFileBytes) {
    return base::Error(absl::StatusCode::kInvalidArgument, "TENSOR_FILE_TOO_LARGE",
                       "a tensor file has at most 1 TiB");
  }
  if (file_bytes < 10 || prefix.size() < 10) return Invalid("it is shorter than any header");
  uint64_t length = 0;
  std::memcpy(&length, prefix.data(), 8);
  if (length < 2 || length > kMaxHeaderBytes) return Invalid("the header's length is out of range");
  if (length > file_bytes - 8 || length > prefix.size() - 8) {
    return Invalid("the header is longer than the file");
  }
  absl::string_view text = prefix.substr(8, length);
  if (text.front() != '{') return Invalid("the header does not begin with '{'");
  HeaderReader reader;
  bool parsed = nlohmann::json::sax_parse(text.begin(), text.end(), &reader);
  RETURN_IF_ERROR(reader.status);
  if (!parsed) return Invalid("the header is not JSON");

  Header header;
  header.data_begin = 8 + length;
  header.file_bytes = file_bytes;
  header.metadata = std::move(reader.metadata);
  const uint64_t data_bytes = file_bytes - header.data_begin;
  std::vector<std::pair<uint64_t, uint64_t>> ranges;
  for (auto& [name, raw] : reader.tensors) {
    if (!raw.has_dtype || !raw.has_shape || !raw.has_offsets || raw.offsets.size() != 2) {
      return Invalid("a tensor lacks dtype, shape or data_offsets");
    }
    TensorInfo info;
    info.name = name;
    info.dtype = raw.dtype;
    info.shape = std::move(raw.shape);
    ASSIGN_OR_RETURN(info.elements, ElementsOf(info.shape));
    auto [begin, end] = std::pair(raw.offsets[0], raw.offsets[1]);
    if (begin > end || end > data_bytes || end - begin != info.bytes()) {
      return Invalid("data_offsets do not fit the shape or the file");
    }
    info.begin = header.data_begin + begin;
    ranges.emplace_back(begin, end);
    header.tensors.emplace(name, std::move(info));
  }
  std::sort(ranges.begin(), ranges.end());
  uint64_t at = 0;
  for (const auto& [begin, end] : ranges) {
    if (begin != at) return Invalid("tensors overlap or leave a gap");
    at = end;
  }
  if (at != data_bytes) return Invalid("bytes after the last tensor");
  return header;
}

absl::StatusOr<TensorFile> TensorFile::Open(const std::string& path) {
  int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return base::ErrnoStatus(errno, "open a tensor file");
  TensorFile file(fd, Header());
  struct stat info{};
  if (fstat(fd, &info) != 0) return base::ErrnoStatus(errno, "read a tensor file");
  if (!S_ISREG(info.st_mode)) return Invalid("it is not a regular file");
  const auto bytes = static_cast<uint64_t>(info.st_size);
  if (bytes < 10) return Invalid("it is shorter than any header");
  uint64_t length = 0;
  RETURN_IF_ERROR(file.ReadBytes(0, &length, 8));
  if (length > kMaxHeaderBytes || length > bytes - 8) {
    return Invalid("the header's length is out of range");
  }
  std::string prefix(8 + length, '\0');
  RETURN_IF_ERROR(file.ReadBytes(0, prefix.data(), prefix.size()));
  ASSIGN_OR_RETURN(file.header_, ParseHeader(prefix, bytes));
  return file;
}

TensorFile::TensorFile(TensorFile&& other) noexcept
    : fd_(std::exchange(other.fd_, -1)), header_(std::move(other.header_)) {}

TensorFile::~TensorFile() {
  if (fd_ >= 0) close(fd_);
}

const TensorInfo* TensorFile::Find(const std::string& name) const {
  auto it = header_.tensors.find(name);
  return it == header_.tensors.end() ? nullptr : &it->second;
}

absl::Status TensorFile::ReadBytes(uint64_t offset, void* out, size_t bytes) const {
  auto* to = static_cast<char*>(out);
  while (bytes > 0) {
    ssize_t got = pread(fd_, to, bytes, static_cast<off_t>(offset));
    if (got < 0) {
      if (errno == EINTR) continue;
      return base::ErrnoStatus(errno, "read a tensor file");
    }
    if (got == 0) {
      return base::Error(absl::StatusCode::kDataLoss, "TENSOR_FILE_CUT",
                         "a tensor file became shorter while it was read");
    }
    to += got;
    offset += static_cast<uint64_t>(got);
    bytes -= static_cast<size_t>(got);
  }
  return absl::OkStatus();
}

absl::Status TensorFile::Read(const TensorInfo& tensor, uint64_t first,
                              absl::Span<float> out) const {
  return ReadBytes(tensor.begin + first * 4, out.data(), out.size() * 4);
}
absl::Status TensorFile::Read(const TensorInfo& tensor, uint64_t first,
                              absl::Span<double> out) const {
  return ReadBytes(tensor.begin + first * 8, out.data(), out.size() * 8);
}

absl::StatusOr<std::vector<double>> TensorFile::ReadAll(const TensorInfo& tensor) const {
  std::vector<double> out(tensor.elements);
  if (tensor.dtype == Dtype::kF64) {
    RETURN_IF_ERROR(Read(tensor, 0, absl::MakeSpan(out)));
    return out;
  }
  std::vector<float> narrow(tensor.elements);
  RETURN_IF_ERROR(Read(tensor, 0, absl::MakeSpan(narrow)));
  std::copy(narrow.begin(), narrow.end(), out.begin());
  return out;
}

absl::StatusOr<std::string> MakeHeader(const std::vector<TensorSpec>& tensors,
                                       const std::map<std::string, std::string>& metadata,
                                       Header* layout) {
  if (tensors.size() > kMaxTensors) return Invalid("more than 16,384 tensors");
  if (metadata.size() > kMaxMetadataEntries) return Invalid("more than 64 metadata entries");
  std::vector<const TensorSpec*> order;
  for (const TensorSpec& tensor : tensors) order.push_back(&tensor);
  std::sort(order.begin(), order.end(), [](const TensorSpec* a, const TensorSpec* b) {
    size_t sa = SizeOf(a->dtype), sb = SizeOf(b->dtype);
    return sa != sb ? sa > sb : a->name < b->name;
  });
  Header out;
  out.metadata = metadata;
  std::string json = "{";
  if (!metadata.empty()) {
    absl::StrAppend(&json, "\"__metadata__\":{");
    bool first = true;
    for (const auto& [key, value] : metadata) {
      if (key.size() > 1024 || value.size() > 1024) return Invalid("metadata beyond 1,024 bytes");
      absl::StrAppend(&json, first ? "" : ",", base::JsonQuoted(key), ":", base::JsonQuoted(value));
      first = false;
    }
    json += "}";
  }
  uint64_t at = 0;
  for (const TensorSpec* spec : order) {
    if (spec->name.empty() || spec->name.size() > kMaxTensorName || spec->name == "__metadata__") {
      return Invalid("a tensor name that is empty, reserved or longer than 256 bytes");
    }
    TensorInfo info;
    info.name = spec->name;
    info.dtype = spec->dtype;
    info.shape = spec->shape;
    ASSIGN_OR_RETURN(info.elements, ElementsOf(spec->shape));
    info.begin = at;
    absl::StrAppend(&json, json.size() == 1 ? "" : ",", base::JsonQuoted(spec->name),
                    ":{\"dtype\":\"", NameOf(spec->dtype), "\",\"shape\":[");
    for (size_t i = 0; i < spec->shape.size(); ++i) {
      absl::StrAppend(&json, i == 0 ? "" : ",", spec->shape[i]);
    }
    absl::StrAppend(&json, "],\"data_offsets\":[", at, ",", at + info.bytes(), "]}");
    at += info.bytes();
    if (at > kMaxTensorFileBytes) return Invalid("more than 1 TiB");
    if (!out.tensors.emplace(spec->name, std::move(info)).second) {
      return Invalid("a tensor name twice");
    }
  }
  json += "}";
  json.append((8 - json.size() % 8) % 8, ' ');
  if (json.size() > kMaxHeaderBytes) return Invalid("a header of more than 8 MiB");
  uint64_t length = json.size();
  std::string bytes(8, '\0');
  std::memcpy(bytes.data(), &length, 8);
  bytes += json;
  out.data_begin = bytes.size();
  out.file_bytes = bytes.size() + at;
  for (auto& [name, info] : out.tensors) info.begin += out.data_begin;
  if (layout != nullptr) *layout = std::move(out);
  return bytes;
}

absl::StatusOr<std::string> WriteTensors(const std::vector<Tensor>& tensors,
                                         const std::map<std::string, std::string>& metadata) {
  std::vector<TensorSpec> specs;
  for (const Tensor& tensor : tensors) specs.push_back(tensor.spec);
  Header layout;
  ASSIGN_OR_RETURN(std::string bytes, MakeHeader(specs, metadata, &layout));
  bytes.resize(layout.file_bytes);
  for (const Tensor& tensor : tensors) {
    const TensorInfo& info = layout.tensors.at(tensor.spec.name);
    if (info.elements != tensor.values.size()) {
      return base::Error(absl::StatusCode::kInvalidArgument, "TENSOR_SHAPE",
                         "the number of values does not fit the shape");
    }
    for (size_t i = 0; i < tensor.values.size(); ++i) {
      char* to = bytes.data() + info.begin + i * SizeOf(info.dtype);
      if (info.dtype == Dtype::kF64) {
        std::memcpy(to, &tensor.values[i], 8);
      } else {
        auto narrow = static_cast<float>(tensor.values[i]);
        std::memcpy(to, &narrow, 4);
      }
    }
  }
  return bytes;
}

}  // namespace oncomesh::federated
