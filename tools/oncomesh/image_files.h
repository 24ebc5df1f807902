// SPDX-License-Identifier: Apache-2.0
// Images that commands read and write, each with its sidecar.
#pragma once

#include <CLI/CLI.hpp>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "libs/imaging/nifti.h"
#include "libs/imaging/sidecar.h"
#include "libs/imaging/volume.h"

namespace oncomesh::cli {

struct InputImage {
  imaging::Volume volume;
  std::string sha256;
  nlohmann::ordered_json history;  // its sidecar, or null
};

// `what` is where the person has named it ("--mask", "image 2 of --in"): errors begin with it, and
// never hold the path.
// Errors: as base::ReadFile and imaging::DecodeNifti.
absl::StatusOr<InputImage> ReadInputImage(const std::string& path, absl::string_view what);

// Every file of a folder that was named with `what`, in order of their paths.
// Errors: as base::ListFiles, the message beginning with `what`.
absl::StatusOr<std::vector<std::string>> ListNamedFolder(const std::string& path,
                                                         absl::string_view what);

// "image 2 of --in" of the second; "--in" when there is one only.
std::string WhichOf(size_t index, size_t count, absl::string_view noun, absl::string_view option);

// Refuses a name that is neither .nii nor .nii.gz, and one that is taken unless `force`: before the
// work is done. Errors: wrong usage (OUTPUT_NAME), ALREADY_EXISTS (OUTPUT_EXISTS), NOT_FOUND
// (OUTPUT_FOLDER) when the folder is not there.
absl::Status CheckOutputImage(const std::string& path, bool force);

// Writes the image and the sidecar beside it. The sidecar comes first: an image is never without.
// Returns the digest of the image.
absl::StatusOr<std::string> WriteOutputImage(const std::string& path, const imaging::Volume& volume,
                                             imaging::VoxelType type,
                                             const imaging::Sidecar& sidecar, bool force);

// The option that lets a command replace its output.
void AddForce(CLI::App* command, bool& force);

// What a result says of an image: its digest, size and spacing.
nlohmann::json DescribeImage(const std::string& sha256, const imaging::Grid& grid);

}  // namespace oncomesh::cli
