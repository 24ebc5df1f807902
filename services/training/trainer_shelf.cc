// SPDX-License-Identifier: Apache-2.0
#include "services/training/trainer_shelf.h"

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

absl::StatusOr<std::string> FolderDigest(const std::string& folder) {
  std::vector<std::string> paths;
  std::error_code error;
  fs::recursive_directory_iterator it(folder, error), end;
  for (; !error && it != end; it.increment(error)) {
    const fs::file_status status = it->symlink_status(error);
    if (fs::is_directory(status)) continue;
    if (!fs::is_regular_file(status)) return Damaged("has something that is not a plain file");
    if (paths.size() == kMaxFiles) return Damaged("has more than 10,000 files");
    paths.push_back(fs::relative(it->path(), folder, error).string());
  }
  if (error) return Damaged("cannot be read");
  std::sort(paths.begin(), paths.end());
  crypto::Sha256 all;
  uint64_t left = kMaxBytes;
  for (const std::string& path : paths) {
    if (path.find('\n') != std::string::npos) return Damaged("has a line break in a file name");
    absl::StatusOr<std::string> content = base::ReadFile(absl::StrCat(folder, "/", path), left);
    if (!content.ok()) return Damaged("cannot be read or is larger than 1 GiB");
    left -= content->size();
    all.Update(absl::StrCat(crypto::Sha256Hex(*content), "  ", path, "\n"));
  }
  return all.FinishHex();
}

absl::StatusOr<TrainerPackage> TrainerShelf::Load(const std::string& name) const {
  TrainerPackage package;
  package.name = name;
  package.folder = absl::StrCat(root_, "/", name);
  std::error_code error;
  if (!IsName(name) || !fs::is_directory(package.folder, error)) {
    return base::Error(absl::StatusCode::kNotFound, "TRAINER_NOT_INSTALLED",
                       "this trainer is not installed at the node");
  }
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
