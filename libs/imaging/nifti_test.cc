// SPDX-License-Identifier: Apache-2.0
#include "libs/imaging/nifti.h"

#include <catch2/catch.hpp>
#include <cmath>
#include <cstring>

#include "libs/base/files.h"
#include "libs/testing/status_matchers.h"
#include "libs/testing/temporary_folder.h"

namespace oncomesh::imaging {
namespace {

Matrix3 Turned(double angle_z, double angle_x) {
  double c = std::cos(angle_z), s = std::sin(angle_z), d = std::cos(angle_x), t = std::sin(angle_x);
  return {{{c, -s * d, s * t}, {s, c * d, -c * t}, {0, t, d}}};
}

Volume Sample() {
  Volume volume;
  volume.grid.size = {5, 4, 3};
  volume.grid.spacing = {0.7, 1.5, 3.27};
  volume.grid.origin = {-112.1, 46.5, 826.9};
  volume.grid.direction = Turned(0.3, -0.4);
  for (int i = 0; i < 60; ++i) volume.voxels.push_back(static_cast<float>(i) * 1.25f - 17);
  return volume;
}

template <typename T>
T Field(const std::string& bytes, size_t offset) {
  T value;
  std::memcpy(&value, bytes.data() + offset, sizeof(T));
  return value;
}

template <typename T>
void Set(std::string& bytes, size_t offset, T value) {
  std::memcpy(bytes.data() + offset, &value, sizeof(T));
}

TEST_CASE("nifti: the header is what the standard's nifti1.h describes") {
  Volume volume = Sample();
  volume.grid.direction = kIdentity;
  REQUIRE_VALUE(std::string bytes, EncodeNifti(volume, VoxelType::kFloat32, false));
  REQUIRE(bytes.size() == 352 + 60 * 4);
  REQUIRE(Field<int32_t>(bytes, 0) == 348);
  REQUIRE(Field<int16_t>(bytes, 40) == 3);
  REQUIRE(Field<int16_t>(bytes, 42) == 5);
  REQUIRE(Field<int16_t>(bytes, 46) == 3);
  REQUIRE(Field<int16_t>(bytes, 70) == 16);
  REQUIRE(Field<int16_t>(bytes, 72) == 32);
  REQUIRE(Field<float>(bytes, 108) == 352);
  REQUIRE(bytes.substr(344, 4) == std::string("n+1\0", 4));
  // LPS becomes RAS: x and y change sign.
  REQUIRE(Field<float>(bytes, 280) == Approx(-0.7));
  REQUIRE(Field<float>(bytes, 292) == Approx(112.1));
  REQUIRE(Field<float>(bytes, 300) == Approx(-1.5));
  REQUIRE(Field<float>(bytes, 308) == Approx(-46.5));
  REQUIRE(Field<float>(bytes, 320) == Approx(3.27));
  REQUIRE(Field<float>(bytes, 324) == Approx(826.9));
  // A half turn about z: b, c, d = 0, 0, 1.
  REQUIRE(std::abs(Field<float>(bytes, 264)) == Approx(1));
  REQUIRE(Field<float>(bytes, 76) == 1);
}

TEST_CASE("nifti: a volume comes back as it was, by sform and by qform") {
  for (double angle : {0.0, 0.3, 1.6, 3.1, -2.9}) {
    for (bool left_handed : {false, true}) {
      for (bool compress : {false, true}) {
        Volume volume = Sample();
        volume.grid.direction = Turned(angle, angle / 2 + 0.1);
        if (left_handed) {
          for (Vector3& row : volume.grid.direction) row[2] = -row[2];
        }
        REQUIRE_VALUE(std::string bytes, EncodeNifti(volume, VoxelType::kFloat32, compress));
        REQUIRE_VALUE(Volume read, DecodeNifti(bytes));
        REQUIRE(read.voxels == volume.voxels);
        REQUIRE(SameGrid(read.grid, volume.grid, 1e-4));
        if (compress) continue;
        Set<int16_t>(bytes, 254, 0);  // no sform: the qform counts
        REQUIRE_VALUE(read, DecodeNifti(bytes));
        REQUIRE(SameGrid(read.grid, volume.grid, 1e-4));
      }
    }
  }
}

TEST_CASE("nifti: the same volume gives the same bytes") {
  REQUIRE_VALUE(std::string first, EncodeNifti(Sample(), VoxelType::kFloat32, true));
  REQUIRE_VALUE(std::string second, EncodeNifti(Sample(), VoxelType::kFloat32, true));
  REQUIRE(first == second);
  REQUIRE(Field<uint32_t>(first, 4) == 0);  // no time in the gzip header
}

TEST_CASE("nifti: bytes are rounded and cut, not wrapped") {
  Volume volume;
  volume.grid.size = {6, 1, 1};
  volume.voxels = {-3, 0.4f, 0.5f, 254.6f, 300, NAN};
  REQUIRE_VALUE(std::string bytes, EncodeNifti(volume, VoxelType::kUint8, false));
  REQUIRE(bytes.substr(352) == std::string("\0\0\x01\xff\xff\0", 6));
}

TEST_CASE("nifti: big endian, scaled integers and extensions are read") {
  // By hand: int16, slope 2, intercept −1, dim[0] = 4 with one volume, voxels after 16 bytes of
  // extension.
  std::string bytes(368, '\0');
  auto put16 = [&](size_t at, uint16_t v) {
    bytes[at] = static_cast<char>(v >> 8), bytes[at + 1] = static_cast<char>(v & 255);
  };
  auto put_float = [&](size_t at, float v) {
    uint32_t bits;
    std::memcpy(&bits, &v, 4);
    put16(at, static_cast<uint16_t>(bits >> 16)), put16(at + 2, static_cast<uint16_t>(bits));
  };
  put16(2, 348);
  put16(40, 4), put16(42, 2), put16(44, 1), put16(46, 1), put16(48, 1);
  put16(70, 4), put16(72, 16);
  put_float(76, 1), put_float(80, 2), put_float(84, 3), put_float(88, 4);
  put_float(108, 368), put_float(112, 2), put_float(116, -1);
  put16(254, 2);
  put_float(280, 2), put_float(300, 3), put_float(320, 4), put_float(292, 10);
  bytes.replace(344, 4, "n+1\0", 4);
  bytes += std::string("\x00\x05\xff\xfe", 4);
  REQUIRE_VALUE(Volume read, DecodeNifti(bytes));
  REQUIRE(read.voxels == std::vector<float>{9, -5});
  REQUIRE(read.grid.spacing == Vector3{2, 3, 4});
  REQUIRE(read.grid.origin == Vector3{-10, 0, 0});
  REQUIRE(read.grid.direction == Matrix3{{{-1, 0, 0}, {0, -1, 0}, {0, 0, 1}}});
}

TEST_CASE("nifti: what is not read says why") {
  REQUIRE_VALUE(const std::string good, EncodeNifti(Sample(), VoxelType::kFloat32, false));
  auto with = [&](auto change) {
    std::string bytes = good;
    change(bytes);
    return DecodeNifti(bytes).status();
  };
  const auto invalid = absl::StatusCode::kInvalidArgument;
  const auto unsupported = absl::StatusCode::kUnimplemented;
  REQUIRE_REASON(DecodeNifti(""), invalid, "NIFTI_INVALID");
  REQUIRE_REASON(DecodeNifti("\x1f\x8b garbage"), invalid, "NIFTI_INVALID");
  REQUIRE_REASON(with([](auto& b) { b[0] = 1; }), invalid, "NIFTI_INVALID");
  REQUIRE_REASON(with([](auto& b) { Set<int32_t>(b, 0, 540); }), unsupported, "NIFTI_UNSUPPORTED");
  REQUIRE_REASON(with([](auto& b) { b[344] = 'x'; }), invalid, "NIFTI_INVALID");
  REQUIRE_REASON(with([](auto& b) { b.replace(344, 3, "ni1"); }), unsupported, "NIFTI_UNSUPPORTED");
  REQUIRE_REASON(with([](auto& b) { Set<int16_t>(b, 70, 32); }), unsupported, "NIFTI_UNSUPPORTED");
  REQUIRE_REASON(with([](auto& b) { Set<int16_t>(b, 40, 4), Set<int16_t>(b, 48, 2); }), unsupported,
                 "NIFTI_UNSUPPORTED");
  REQUIRE_REASON(with([](auto& b) { Set<int16_t>(b, 42, -5); }), invalid, "NIFTI_INVALID");
  REQUIRE_REASON(with([](auto& b) { Set<float>(b, 108, 1e9f); }), invalid, "NIFTI_INVALID");
  REQUIRE_REASON(with([](auto& b) { Set<float>(b, 284, 0.5f); }), unsupported, "NIFTI_UNSUPPORTED");
  REQUIRE_REASON(with([](auto& b) { Set<float>(b, 280, NAN); }), invalid, "NIFTI_INVALID");
  for (size_t length = 352; length < good.size(); length += 13) {
    REQUIRE_REASON(DecodeNifti(good.substr(0, length)), invalid, "NIFTI_TRUNCATED");
  }
  // A header that promises 2 GB and a file that does not have them costs no memory.
  REQUIRE_REASON(with([](auto& b) {
                   for (size_t i = 42; i <= 46; i += 2) Set<int16_t>(b, i, 800);
                 }),
                 invalid, "NIFTI_TRUNCATED");
  REQUIRE_VALUE(std::string packed, EncodeNifti(Sample(), VoxelType::kFloat32, true));
  for (size_t length = 2; length < packed.size(); ++length) {
    CHECK_FALSE(DecodeNifti(packed.substr(0, length - 1)).ok());
  }
}

TEST_CASE("nifti: files end with .nii or .nii.gz, and are not overwritten unasked") {
  testing::TemporaryFolder folder;
  REQUIRE_REASON(WriteNifti(folder / "x.img", Sample(), VoxelType::kFloat32, false),
                 absl::StatusCode::kInvalidArgument, "OUTPUT_NAME");
  REQUIRE_OK(WriteNifti(folder / "x.nii.gz", Sample(), VoxelType::kFloat32, false));
  REQUIRE_REASON(WriteNifti(folder / "x.nii.gz", Sample(), VoxelType::kFloat32, false),
                 absl::StatusCode::kAlreadyExists, "FILE_EXISTS");
  REQUIRE_VALUE(Volume read, ReadNifti(folder / "x.nii.gz"));
  REQUIRE(read.voxels == Sample().voxels);
}

}  // namespace
}  // namespace oncomesh::imaging
