// SPDX-License-Identifier: Apache-2.0
// NIfTI-1 single files (.nii, .nii.gz), version of the header of 2 October 2007. NIfTI's
// coordinates are RAS, ours are LPS: the first two axes change sign on the way.
#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "libs/imaging/volume.h"

namespace oncomesh::imaging {

enum class VoxelType { kUint8, kFloat32 };

// The bytes of a .nii file, or with `compress` of a .nii.gz. The same volume gives the same bytes.
// sform and qform say the same. With kUint8, values are rounded to the nearest whole number and cut
// to 0…255. Errors: INVALID_ARGUMENT (GRID_INVALID), also for an axis of more than 32,767 voxels.
absl::StatusOr<std::string> EncodeNifti(const Volume& volume, VoxelType type, bool compress);

// Reads .nii and .nii.gz alike, either byte order, the integer and floating types, slope and
// intercept. The sform counts when it has a code, else the qform, else spacing alone. Axes of
// length 1 past the third are taken off. Not more memory than the header promises is used.
// Errors: INVALID_ARGUMENT (NIFTI_INVALID, NIFTI_TRUNCATED), UNIMPLEMENTED (NIFTI_UNSUPPORTED) for
// header and image in two files, NIfTI-2, complex and colour voxels, four dimensions and sheared
// axes.
absl::StatusOr<Volume> DecodeNifti(absl::string_view bytes);

// The same from and to files. A name that ends with ".gz" is compressed. Errors: as above, and of
// base::ReadFile; INVALID_ARGUMENT (OUTPUT_NAME) for other endings than .nii and .nii.gz;
// ALREADY_EXISTS (FILE_EXISTS) unless `overwrite`.
absl::StatusOr<Volume> ReadNifti(const std::string& path);
absl::Status WriteNifti(const std::string& path, const Volume& volume, VoxelType type,
                        bool overwrite);

}  // namespace oncomesh::imaging
