// SPDX-License-Identifier: Apache-2.0
#include "services/training/trainer_shelf.h"

#include <sys/stat.h>

#include <algorithm>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <system_error>

#include "absl/strings/str_cat.h"
#include "libs/base/error.h"
#include "libs/base/files.h"
#include "libs/base/status_macros.h"
#include "libs/crypto/digest.h"
#include "libs/crypto/jws.h"

namespace oncomesh::training {
namespace {

namespace fs = std::filesystem;

constexpr size_t kMaxFiles = 10'000;
constexpr uint64_t kMaxBytes = 1 << 30;

absl::Status Damaged(absl::string_view what) {
  return base::Error(absl::StatusCode::kFailedPrecondition, "TRAINER_DAMAGED",
                     absl::StrCat("the trainer's folder ", what, "; install it again"));
}

bool IsName(const std::string& name) {
  return !name.empty() && name.size() <= 64 &&
         name.find_first_not_of("abcdefghijklmnopqrstuvwxyz0123456789-") == std::string::npos;
}

}  // namespace

namespace {

// The package's files by their path in it, sorted.
absl::StatusOr<std::vector<std::string>> FilesOf(const std::string& folder) {
  std::vector<std::string> paths;
  std::error_code error;
  fs::recursive_directory_iterator it(folder, error), end;
  for (; !error && it != end; it.increment(error)) {
    const fs::file_status status = it->symlink_status(error);
    if (fs::is_directory(status)) continue;
    if (!fs::is_regular_file(status)) return Damaged("has something that is not a plain file");
    if (paths.size() == kMaxFiles) return Damaged("has more than 10,000 files");
    paths.push_back(fs::relative(it->path(), folder, error).string());
    if (paths.back().find('\n') != std::string::npos) {
      return Damaged("has a line break in a file name");
    }
  }
  if (error) return Damaged("cannot be read");
  std::sort(paths.begin(), paths.end());
  return paths;
}

absl::StatusOr<std::string> ReadPackageFile(const std::string& path, uint64_t& left) {
  absl::StatusOr<std::string> content = base::ReadFile(path, left);
  if (!content.ok()) return Damaged("cannot be read or is larger than 1 GiB");
  left -= content->size();
  return content;
}

// The package at `folder`, as whose name `name` is known.
absl::StatusOr<TrainerPackage> LoadFrom(const std::string& folder, const std::string& name) {
  TrainerPackage package;
  package.name = name;
  package.folder = folder;
  absl::StatusOr<std::string> text = base::ReadFile(package.folder + "/trainer.json", 64 << 10);
  if (!text.ok()) return Damaged("has no readable trainer.json");
  absl::StatusOr<nlohmann::json> json = crypto::ParseStrictJson(*text);
  if (!json.ok() || !json->is_object() || json->value("name", nlohmann::json()) != name) {
    return Damaged("has a trainer.json that is not as documented or has another name");
  }
  auto command = json->find("command");
  if (command == json->end() || !command->is_array() || command->empty() || command->size() > 64) {
    return Damaged("has a trainer.json without a command");
  }
  for (const nlohmann::json& word : *command) {
    if (!word.is_string() || word.get<std::string>().find('\0') != std::string::npos) {
      return Damaged("has a command that is not a list of words");
    }
    package.command.push_back(word.get<std::string>());
  }
  ASSIGN_OR_RETURN(package.digest, FolderDigest(package.folder));
  return package;
}

}  // namespace

absl::StatusOr<std::string> FolderDigest(const std::string& folder) {
  ASSIGN_OR_RETURN(std::vector<std::string> paths, FilesOf(folder));
  crypto::Sha256 all;
  uint64_t left = kMaxBytes;
  for (const std::string& path : paths) {
    ASSIGN_OR_RETURN(std::string content, ReadPackageFile(absl::StrCat(folder, "/", path), left));
    all.Update(absl::StrCat(crypto::Sha256Hex(content), "  ", path, "\n"));
  }
  return all.FinishHex();
}

absl::StatusOr<std::string> TrainerShelf::FolderOf(const std::string& name) const {
  std::string folder = absl::StrCat(root_, "/", name);
  std::error_code error;
  if (!IsName(name) || !fs::is_directory(folder, error)) {
    return base::Error(absl::StatusCode::kNotFound, "TRAINER_NOT_INSTALLED",
                       "this trainer is not installed at the node");
  }
  return folder;
}

absl::StatusOr<TrainerPackage> TrainerShelf::Load(const std::string& name) const {
  ASSIGN_OR_RETURN(std::string folder, FolderOf(name));
  return LoadFrom(folder, name);
}

absl::StatusOr<TrainerPackage> TrainerShelf::Copy(const std::string& name,
                                                  const std::string& to) const {
  ASSIGN_OR_RETURN(std::string folder, FolderOf(name));
  ASSIGN_OR_RETURN(std::vector<std::string> paths, FilesOf(folder));
  uint64_t left = kMaxBytes;
  for (const std::string& path : paths) {
    const std::string from = absl::StrCat(folder, "/", path), target = absl::StrCat(to, "/", path);
    RETURN_IF_ERROR(base::MakeDirectories(fs::path(target).parent_path().string(), 0700));
    struct stat info{};
    if (stat(from.c_str(), &info) != 0) return Damaged("cannot be read");
    ASSIGN_OR_RETURN(std::string content, ReadPackageFile(from, left));
    ASSIGN_OR_RETURN(base::AtomicFile file,
                     base::AtomicFile::Create(target, 0400 | (info.st_mode & 0111)));
    RETURN_IF_ERROR(file.Append(content));
    RETURN_IF_ERROR(file.Commit(/*overwrite=*/false, /*sync=*/false));
  }
  return LoadFrom(to, name);
}

std::vector<std::string> TrainerShelf::Names() const {
  std::vector<std::string> names;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(root_, error)) {
    std::error_code ignored;
    const std::string name = entry.path().filename().string();
    if (entry.is_directory(ignored) && IsName(name)) names.push_back(name);
  }
  std::sort(names.begin(), names.end());
  return names;
}

}  // namespace oncomesh::training
