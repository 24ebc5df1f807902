// SPDX-License-Identifier: Apache-2.0
#include "libs/imaging/nifti.h"

#include <zlib.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "libs/base/error.h"
#include "libs/base/files.h"
#include "libs/base/status_macros.h"

namespace oncomesh::imaging {
namespace {

using absl::StatusCode;

static_assert(std::endian::native == std::endian::little);

constexpr size_t kHeaderSize = 348;
constexpr size_t kVoxelOffset = 352;
constexpr size_t kMaxFile = size_t{8} << 30;

// Offsets of the header's fields.
constexpr size_t kDim = 40, kDatatype = 70, kBitpix = 72, kPixdim = 76, kVoxOffset = 108,
                 kSclSlope = 112, kSclInter = 116, kXyztUnits = 123, kDescrip = 148,
                 kQformCode = 252, kSformCode = 254, kQuatern = 256, kQoffset = 268, kSrow = 280,
                 kMagic = 344;

absl::Status Invalid(absl::string_view why) {
  return base::Error(StatusCode::kInvalidArgument, "NIFTI_INVALID",
                     absl::StrCat("not a usable NIfTI-1 file: ", why));
}

absl::Status Unsupported(absl::string_view why) {
  return base::Error(StatusCode::kUnimplemented, "NIFTI_UNSUPPORTED",
                     absl::StrCat("this kind of NIfTI file is not read here: ", why));
}

absl::Status Truncated() {
  return base::Error(StatusCode::kInvalidArgument, "NIFTI_TRUNCATED",
                     "the NIfTI file ends before its last voxel or is damaged");
}

template <typename T>
void Store(std::string& header, size_t offset, T value) {
  std::memcpy(header.data() + offset, &value, sizeof(T));
}

template <typename T>
T Swapped(T value) {
  char bytes[sizeof(T)];
  std::memcpy(bytes, &value, sizeof(T));
  std::reverse(bytes, bytes + sizeof(T));
  std::memcpy(&value, bytes, sizeof(T));
  return value;
}

class Header {
 public:
  Header(absl::string_view bytes, bool swap) : bytes_(bytes), swap_(swap) {}
  template <typename T>
  T Get(size_t offset) const {
    T value;
    std::memcpy(&value, bytes_.data() + offset, sizeof(T));
    return swap_ ? Swapped(value) : value;
  }
  double Real(size_t offset) const { return Get<float>(offset); }

 private:
  absl::string_view bytes_;
  bool swap_;
};

// The quaternion (a, b, c, d) of a proper rotation; a is at least 0 and left out in the file.
std::array<double, 3> Quaternion(const Matrix3& r) {
  double a = 1 + r[0][0] + r[1][1] + r[2][2];
  double b, c, d;
  if (a > 0.5) {
    a = 0.5 * std::sqrt(a);
    b = 0.25 * (r[2][1] - r[1][2]) / a;
    c = 0.25 * (r[0][2] - r[2][0]) / a;
    d = 0.25 * (r[1][0] - r[0][1]) / a;
    return {b, c, d};
  }
  // A rotation by nearly 180°: start from the largest of b, c, d.
  double xd = 1 + r[0][0] - r[1][1] - r[2][2];
  double yd = 1 + r[1][1] - r[0][0] - r[2][2];
  double zd = 1 + r[2][2] - r[0][0] - r[1][1];
  if (xd >= yd && xd >= zd) {
    b = 0.5 * std::sqrt(xd);
    c = 0.25 * (r[0][1] + r[1][0]) / b;
    d = 0.25 * (r[0][2] + r[2][0]) / b;
    a = 0.25 * (r[2][1] - r[1][2]) / b;
  } else if (yd >= zd) {
    c = 0.5 * std::sqrt(yd);
    b = 0.25 * (r[0][1] + r[1][0]) / c;
    d = 0.25 * (r[1][2] + r[2][1]) / c;
    a = 0.25 * (r[0][2] - r[2][0]) / c;
  } else {
    d = 0.5 * std::sqrt(zd);
    b = 0.25 * (r[0][2] + r[2][0]) / d;
    c = 0.25 * (r[1][2] + r[2][1]) / d;
    a = 0.25 * (r[1][0] - r[0][1]) / d;
  }
  if (a < 0) return {-b, -c, -d};
  return {b, c, d};
}

Matrix3 Rotation(double b, double c, double d) {
  double a = 1 - (b * b + c * c + d * d);
  if (a < 1e-7) {
    double norm = std::sqrt(b * b + c * c + d * d);
    b /= norm, c /= norm, d /= norm;
    a = 0;
  } else {
    a = std::sqrt(a);
  }
  return {{{a * a + b * b - c * c - d * d, 2 * (b * c - a * d), 2 * (b * d + a * c)},
           {2 * (b * c + a * d), a * a + c * c - b * b - d * d, 2 * (c * d - a * b)},
           {2 * (b * d - a * c), 2 * (c * d + a * b), a * a + d * d - c * c - b * b}}};
}

double Determinant(const Matrix3& m) { return Dot(m[0], Cross(m[1], m[2])); }

// Axes with their spacing as the columns of `affine`, in RAS.
absl::Status SetAxes(const Matrix3& affine, const Vector3& origin, Grid& grid) {
  for (size_t axis = 0; axis < 3; ++axis) {
    Vector3 column = {affine[0][axis], affine[1][axis], affine[2][axis]};
    double length = Length(column);
    if (!std::isfinite(length) || length < 1e-9) return Invalid("an axis of no length");
    grid.spacing[axis] = length;
    // Axes at right angles are put there exactly: the file has seven digits of them.
    for (size_t before = 0; before < axis; ++before) {
      Vector3 other = {grid.direction[0][before], grid.direction[1][before],
                       grid.direction[2][before]};
      double overlap = Dot(column, other);
      if (std::abs(overlap) > 1e-3 * length) {
        return Unsupported("its axes are sheared; resample it to a straight grid first");
      }
      for (size_t row = 0; row < 3; ++row) column[row] -= overlap * other[row];
    }
    length = Length(column);
    for (size_t row = 0; row < 3; ++row) grid.direction[row][axis] = column[row] / length;
  }
  grid.origin = origin;
  for (size_t row = 0; row < 2; ++row) {
    grid.origin[row] = -grid.origin[row];
    for (size_t axis = 0; axis < 3; ++axis) grid.direction[row][axis] = -grid.direction[row][axis];
  }
  // No negative zeros: they would look odd in a report.
  for (Vector3& row : grid.direction) {
    for (double& value : row) value += 0.0;
  }
  for (double& value : grid.origin) value += 0.0;
  return CheckGrid(grid);
}

absl::Status ReadOrientation(const Header& header, Grid& grid) {
  Matrix3 affine{};
  Vector3 origin{};
  if (header.Get<int16_t>(kSformCode) > 0) {
    for (size_t row = 0; row < 3; ++row) {
      for (size_t axis = 0; axis < 3; ++axis) {
        affine[row][axis] = header.Real(kSrow + 16 * row + 4 * axis);
      }
      origin[row] = header.Real(kSrow + 16 * row + 12);
    }
    return SetAxes(affine, origin, grid);
  }
  Vector3 spacing{};
  for (size_t axis = 0; axis < 3; ++axis) {
    spacing[axis] = std::abs(header.Real(kPixdim + 4 + 4 * axis));
    if (spacing[axis] == 0) spacing[axis] = 1;
  }
  Matrix3 rotation = kIdentity;
  if (header.Get<int16_t>(kQformCode) > 0) {
    double b = header.Real(kQuatern), c = header.Real(kQuatern + 4), d = header.Real(kQuatern + 8);
    if (!(b * b + c * c + d * d <= 1.0001)) return Invalid("its quaternion is no rotation");
    rotation = Rotation(b, c, d);
    double qfac = header.Real(kPixdim) < 0 ? -1 : 1;
    for (size_t row = 0; row < 3; ++row) {
      rotation[row][2] *= qfac;
      origin[row] = header.Real(kQoffset + 4 * row);
    }
  }
  for (size_t row = 0; row < 3; ++row) {
    for (size_t axis = 0; axis < 3; ++axis) affine[row][axis] = rotation[row][axis] * spacing[axis];
  }
  return SetAxes(affine, origin, grid);
}

// Hands out the bytes of a file, inflated when it is compressed, and never more than asked for.
class Source {
 public:
  explicit Source(absl::string_view bytes)
      : bytes_(bytes), compressed_(absl::StartsWith(bytes, "\x1f\x8b")) {
    if (!compressed_) return;
    opened_ = usable_ = inflateInit2(&stream_, MAX_WBITS + 16) == Z_OK;
  }
  ~Source() {
    if (opened_) inflateEnd(&stream_);
  }
  Source(const Source&) = delete;
  Source& operator=(const Source&) = delete;

  // False when there are fewer.
  bool Read(char* out, size_t count) {
    if (!compressed_) {
      if (bytes_.size() < count) return false;
      std::memcpy(out, bytes_.data(), count);
      bytes_.remove_prefix(count);
      return true;
    }
    while (usable_ && count > 0) {
      stream_.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(bytes_.data()));
      stream_.avail_in = static_cast<uInt>(std::min<size_t>(bytes_.size(), 1u << 30));
      uInt given = stream_.avail_in;
      stream_.next_out = reinterpret_cast<Bytef*>(out);
      stream_.avail_out = static_cast<uInt>(std::min<size_t>(count, 1u << 30));
      uInt wanted = stream_.avail_out;
      int result = inflate(&stream_, Z_NO_FLUSH);
      bytes_.remove_prefix(given - stream_.avail_in);
      out += wanted - stream_.avail_out;
      count -= wanted - stream_.avail_out;
      // A file may be several compressed members back to back (RFC 1952 2.2).
      if (result == Z_STREAM_END && !bytes_.empty()) {
        usable_ = inflateReset(&stream_) == Z_OK;
      } else if (result != Z_OK) {
        ended_ = result == Z_STREAM_END;
        usable_ = false;
      }
    }
    return count == 0;
  }

  // True when what was read is whole: of a compressed file the checksum at its end must fit. Up to
  // 1 MiB behind the voxels is passed over.
  bool Finish() {
    if (!compressed_) return true;
    char rest[4096];
    for (size_t i = 0; i < 256 && usable_; ++i) Read(rest, sizeof(rest));
    return ended_;
  }

 private:
  absl::string_view bytes_;
  bool compressed_;
  bool opened_ = false;
  bool usable_ = true;
  bool ended_ = false;
  z_stream stream_{};
};

template <typename T>
absl::Status ReadVoxels(Source& source, bool swap, double slope, double intercept, Volume& volume) {
  const int64_t total = volume.grid.voxels();
  const bool scaled = slope != 1 || intercept != 0;
  // In parts: memory grows with the bytes that are really there.
  constexpr int64_t kPart = int64_t{1} << 20;
  std::vector<T> part;
  for (int64_t done = 0; done < total;) {
    int64_t count = std::min(kPart, total - done);
    part.resize(static_cast<size_t>(count));
    if (!source.Read(reinterpret_cast<char*>(part.data()), part.size() * sizeof(T))) {
      return Truncated();
    }
    for (T raw : part) {
      T value = swap ? Swapped(raw) : raw;
      volume.voxels.push_back(
          scaled ? static_cast<float>(static_cast<double>(value) * slope + intercept)
                 : static_cast<float>(value));
    }
    done += count;
  }
  return absl::OkStatus();
}

absl::Status ReadVoxels(int16_t datatype, Source& source, bool swap, double slope, double intercept,
                        Volume& volume) {
  switch (datatype) {
    case 2:
      return ReadVoxels<uint8_t>(source, swap, slope, intercept, volume);
    case 4:
      return ReadVoxels<int16_t>(source, swap, slope, intercept, volume);
    case 8:
      return ReadVoxels<int32_t>(source, swap, slope, intercept, volume);
    case 16:
      return ReadVoxels<float>(source, swap, slope, intercept, volume);
    case 64:
      return ReadVoxels<double>(source, swap, slope, intercept, volume);
    case 256:
      return ReadVoxels<int8_t>(source, swap, slope, intercept, volume);
    case 512:
      return ReadVoxels<uint16_t>(source, swap, slope, intercept, volume);
    case 768:
      return ReadVoxels<uint32_t>(source, swap, slope, intercept, volume);
    case 1024:
      return ReadVoxels<int64_t>(source, swap, slope, intercept, volume);
    case 1280:
      return ReadVoxels<uint64_t>(source, swap, slope, intercept, volume);
    default:
      return Unsupported("its voxels are not whole or floating-point numbers of 8 to 64 bits");
  }
}

std::string Compress(absl::string_view bytes) {
  z_stream stream{};
  // Level 3: twice as fast as the default, some per cent larger. zlib writes no time into the
  // header by itself, so the same input gives the same bytes.
  deflateInit2(&stream, 3, Z_DEFLATED, MAX_WBITS + 16, 8, Z_DEFAULT_STRATEGY);
  std::string out;
  std::vector<char> chunk(1 << 18);
  int result = Z_OK;
  while (result != Z_STREAM_END) {
    if (stream.avail_in == 0 && !bytes.empty()) {
      size_t count = std::min<size_t>(bytes.size(), 1u << 30);
      stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(bytes.data()));
      stream.avail_in = static_cast<uInt>(count);
      bytes.remove_prefix(count);
    }
    stream.next_out = reinterpret_cast<Bytef*>(chunk.data());
    stream.avail_out = static_cast<uInt>(chunk.size());
    result = deflate(&stream, bytes.empty() ? Z_FINISH : Z_NO_FLUSH);
    out.append(chunk.data(), chunk.size() - stream.avail_out);
  }
  deflateEnd(&stream);
  return out;
}

}  // namespace

absl::StatusOr<std::string> EncodeNifti(const Volume& volume, VoxelType type, bool compress) {
  const Grid& grid = volume.grid;
  RETURN_IF_ERROR(CheckGrid(grid));
  std::string out(kVoxelOffset, '\0');
  Store<int32_t>(out, 0, kHeaderSize);
  Store<int16_t>(out, kDim, 3);
  for (size_t axis = 0; axis < 3; ++axis) {
    if (grid.size[axis] > std::numeric_limits<int16_t>::max()) {
      return base::Error(
          StatusCode::kInvalidArgument, "GRID_INVALID",
          "NIfTI-1 has at most 32,767 voxels along an axis; choose a larger spacing");
    }
    Store<int16_t>(out, kDim + 2 + 2 * axis, static_cast<int16_t>(grid.size[axis]));
    Store<float>(out, kPixdim + 4 + 4 * axis, static_cast<float>(grid.spacing[axis]));
  }
  for (size_t i = 4; i < 8; ++i) {
    Store<int16_t>(out, kDim + 2 * i, 1);
    Store<float>(out, kPixdim + 4 * i, 1);
  }
  Store<int16_t>(out, kDatatype, type == VoxelType::kUint8 ? 2 : 16);
  Store<int16_t>(out, kBitpix, type == VoxelType::kUint8 ? 8 : 32);
  Store<float>(out, kVoxOffset, kVoxelOffset);
  Store<float>(out, kSclSlope, 1);
  out[kXyztUnits] = 2;  // millimetres
  std::memcpy(out.data() + kDescrip, "oncomesh", 8);
  Store<int16_t>(out, kQformCode, 1);  // scanner coordinates
  Store<int16_t>(out, kSformCode, 1);

  Matrix3 axes = grid.direction;  // in RAS
  Vector3 origin = grid.origin;
  for (size_t row = 0; row < 2; ++row) {
    origin[row] = -origin[row];
    for (double& value : axes[row]) value = -value;
  }
  for (size_t row = 0; row < 3; ++row) {
    for (size_t axis = 0; axis < 3; ++axis) {
      Store<float>(out, kSrow + 16 * row + 4 * axis,
                   static_cast<float>(axes[row][axis] * grid.spacing[axis] + 0.0));
    }
    Store<float>(out, kSrow + 16 * row + 12, static_cast<float>(origin[row] + 0.0));
    Store<float>(out, kQoffset + 4 * row, static_cast<float>(origin[row] + 0.0));
  }
  double qfac = Determinant(axes) < 0 ? -1 : 1;
  for (size_t row = 0; row < 3; ++row) axes[row][2] *= qfac;
  std::array<double, 3> quaternion = Quaternion(axes);
  Store<float>(out, kPixdim, static_cast<float>(qfac));
  for (size_t i = 0; i < 3; ++i) {
    Store<float>(out, kQuatern + 4 * i, static_cast<float>(quaternion[i] + 0.0));
  }
  std::memcpy(out.data() + kMagic, "n+1", 4);

  if (type == VoxelType::kFloat32) {
    out.append(reinterpret_cast<const char*>(volume.voxels.data()),
               volume.voxels.size() * sizeof(float));
  } else {
    out.reserve(out.size() + volume.voxels.size());
    for (float value : volume.voxels) {
      // NaN becomes 0.
      float cut = value > 0 ? std::min(value, 255.0f) : 0.0f;
      out.push_back(static_cast<char>(static_cast<uint8_t>(std::lround(cut))));
    }
  }
  return compress ? Compress(out) : out;
}

absl::StatusOr<Volume> DecodeNifti(absl::string_view bytes) {
  Source source(bytes);
  std::string raw(kHeaderSize, '\0');
  if (!source.Read(raw.data(), raw.size())) return Invalid("it is shorter than its header");
  int32_t size = Header(raw, false).Get<int32_t>(0);
  if (size == 540 || Swapped(size) == 540) return Unsupported("NIfTI-2");
  bool swap = size != static_cast<int32_t>(kHeaderSize);
  Header header(raw, swap);
  if (header.Get<int32_t>(0) != static_cast<int32_t>(kHeaderSize)) return Invalid("no header");
  if (std::memcmp(raw.data() + kMagic, "ni1", 4) == 0) {
    return Unsupported("header and image in two files; use a single .nii file");
  }
  if (std::memcmp(raw.data() + kMagic, "n+1", 4) != 0) return Invalid("the magic is missing");

  int16_t dimensions = header.Get<int16_t>(kDim);
  if (dimensions < 1 || dimensions > 7) return Invalid("an impossible number of dimensions");
  Volume volume;
  volume.grid.size = {1, 1, 1};
  for (size_t i = 1; i <= static_cast<size_t>(dimensions); ++i) {
    int16_t length = header.Get<int16_t>(kDim + 2 * i);
    if (length < 1) return Invalid("an axis has no voxels");
    if (i <= 3) volume.grid.size[i - 1] = length;
    if (i > 3 && length != 1) return Unsupported("more than three dimensions");
  }
  RETURN_IF_ERROR(ReadOrientation(header, volume.grid));

  double offset = header.Real(kVoxOffset);
  if (!(offset >= static_cast<double>(kVoxelOffset)) || offset > (1 << 26)) {
    return Invalid("its voxels start at an impossible place");
  }
  std::string extensions(static_cast<size_t>(offset) - kHeaderSize, '\0');
  if (!source.Read(extensions.data(), extensions.size())) {
    return Truncated();
  }
  double slope = header.Real(kSclSlope), intercept = header.Real(kSclInter);
  // A slope of 0, or none at all, means that voxels are what they are.
  if (slope == 0 || !std::isfinite(slope) || !std::isfinite(intercept)) slope = 1, intercept = 0;
  RETURN_IF_ERROR(
      ReadVoxels(header.Get<int16_t>(kDatatype), source, swap, slope, intercept, volume));
  if (!source.Finish()) return Truncated();
  return volume;
}

absl::StatusOr<Volume> ReadNifti(const std::string& path) {
  ASSIGN_OR_RETURN(std::string bytes, base::ReadFile(path, kMaxFile));
  return DecodeNifti(bytes);
}

absl::Status WriteNifti(const std::string& path, const Volume& volume, VoxelType type,
                        bool overwrite) {
  bool compress = absl::EndsWith(path, ".nii.gz");
  if (!compress && !absl::EndsWith(path, ".nii")) {
    return base::Error(StatusCode::kInvalidArgument, "OUTPUT_NAME",
                       "an image's name must end with .nii or .nii.gz");
  }
  ASSIGN_OR_RETURN(std::string bytes, EncodeNifti(volume, type, compress));
  return base::WriteFileAtomically(path, bytes, 0644, overwrite);
}

}  // namespace oncomesh::imaging
