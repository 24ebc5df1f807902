// link: oncomesh::imaging
// SPDX-License-Identifier: Apache-2.0
// NIfTI-1 files, compressed or not. What is read has the voxels its grid promises and can be
// written and read again.
#include <cstdint>
#include <cstdlib>

#include "libs/imaging/nifti.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace oncomesh::imaging;
  auto volume = DecodeNifti(absl::string_view(reinterpret_cast<const char*>(data), size));
  if (!volume.ok()) return 0;
  if (static_cast<int64_t>(volume->voxels.size()) != volume->grid.voxels()) std::abort();
  auto bytes = EncodeNifti(*volume, VoxelType::kFloat32, false);
  if (!bytes.ok()) std::abort();
  // Spacings and origins of any size are floats in the file: the grid may be refused the second
  // time, but not with another number of voxels.
  auto again = DecodeNifti(*bytes);
  if (again.ok() && again->grid.size != volume->grid.size) std::abort();
  return 0;
}
