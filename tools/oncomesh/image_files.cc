// SPDX-License-Identifier: Apache-2.0
#include "tools/oncomesh/image_files.h"

#include <filesystem>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "libs/base/error.h"
#include "libs/base/files.h"
#include "libs/base/status_macros.h"
#include "libs/crypto/digest.h"
#include "tools/oncomesh/interrupt.h"
#include "tools/oncomesh/session.h"

namespace oncomesh::cli {
namespace {

namespace fs = std::filesystem;

constexpr uint64_t kMaxImage = uint64_t{8} << 30;

}  // namespace

absl::StatusOr<InputImage> ReadInputImage(const std::string& path, absl::string_view what) {
  ASSIGN_OR_RETURN(std::string bytes, ReadNamedFile(path, kMaxImage, what));
  InputImage out;
  absl::StatusOr<imaging::Volume> volume = imaging::DecodeNifti(bytes);
  if (!volume.ok()) return base::Annotate(volume.status(), absl::StrCat(what, ": "));
  out.volume = *std::move(volume);
  out.sha256 = crypto::Sha256Hex(bytes);
  out.history = imaging::ReadSidecar(path, out.sha256);
  return out;
}

absl::StatusOr<std::vector<std::string>> ListNamedFolder(const std::string& path,
                                                         absl::string_view what) {
  absl::StatusOr<std::vector<std::string>> files = base::ListFiles(path);
  if (!files.ok()) return base::Annotate(files.status(), absl::StrCat(what, ": "));
  return files;
}

std::string WhichOf(size_t index, size_t count, absl::string_view noun, absl::string_view option) {
  return count == 1 ? std::string(option) : absl::StrCat(noun, " ", index + 1, " of ", option);
}

absl::Status CheckOutputImage(const std::string& path, bool force) {
  if (!absl::EndsWith(path, ".nii") && !absl::EndsWith(path, ".nii.gz")) {
    return WrongUsage("OUTPUT_NAME", "an image's name must end with .nii or .nii.gz");
  }
  std::error_code error;
  if (!force && (fs::exists(path, error) || fs::exists(imaging::SidecarPath(path), error))) {
    return base::Error(absl::StatusCode::kAlreadyExists, "OUTPUT_EXISTS",
                       "the output or its sidecar exists already; give another name, or --force");
  }
  fs::path folder = fs::path(path).parent_path();
  if (!folder.empty() && !fs::is_directory(folder, error)) {
    return base::Error(absl::StatusCode::kNotFound, "OUTPUT_FOLDER",
                       "the folder of the output does not exist; make it first");
  }
  return absl::OkStatus();
}

absl::StatusOr<std::string> WriteOutputImage(const std::string& path, const imaging::Volume& volume,
                                             imaging::VoxelType type,
                                             const imaging::Sidecar& sidecar, bool force) {
  RETURN_IF_ERROR(CheckOutputImage(path, force));
  ASSIGN_OR_RETURN(std::string bytes,
                   imaging::EncodeNifti(volume, type, absl::EndsWith(path, ".gz")));
  InterruptGuard together;  // an image and its sidecar appear both or not at all
  RETURN_IF_ERROR(base::WriteFileAtomically(imaging::SidecarPath(path),
                                            sidecar.Document(bytes, volume.grid), 0644, force));
  absl::Status written = base::WriteFileAtomically(path, bytes, 0644, force);
  if (!written.ok()) {
    std::error_code ignored;
    fs::remove(imaging::SidecarPath(path), ignored);
    return written;
  }
  RETURN_IF_ERROR(InterruptGuard::Check());
  return crypto::Sha256Hex(bytes);
}

void AddForce(CLI::App* command, bool& force) {
  command->add_flag("--force", force, "replace the output when it exists");
}

nlohmann::json DescribeImage(const std::string& sha256, const imaging::Grid& grid) {
  return {{"sha256", sha256}, {"size", grid.size}, {"spacingMm", grid.spacing}};
}

}  // namespace oncomesh::cli
