// SPDX-License-Identifier: Apache-2.0
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <filesystem>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "libs/base/error.h"
#include "libs/base/files.h"
#include "libs/base/status_macros.h"
#include "libs/crypto/digest.h"
#include "libs/objects/object_store.h"

namespace oncomesh::objects {
namespace {

constexpr size_t kCopyBytes = 1 << 20;

absl::Status NotFound(const std::string& name) {
  return base::Error(absl::StatusCode::kNotFound, "OBJECT_NOT_FOUND",
                     "there is no object of this name", {{"sha256", name}});
}

absl::Status NameInvalid() {
  return base::Error(absl::StatusCode::kInvalidArgument, "OBJECT_NAME_INVALID",
                     "the name of an object is 64 lower-case hexadecimal digits");
}

class FolderStore final : public ObjectStore {
 public:
  explicit FolderStore(std::string root) : root_(std::move(root)) {}

  absl::StatusOr<std::string> Put(absl::string_view bytes) override {
    std::string name = crypto::Sha256Hex(bytes);
    std::string path = Path(name);
    if (access(path.c_str(), F_OK) == 0) return name;
    RETURN_IF_ERROR(base::MakeDirectories(Folder(name), 0700));
    RETURN_IF_ERROR(base::WriteFileAtomically(path, bytes, 0400));
    return name;
  }

  absl::StatusOr<std::string> PutFile(const std::string& source,
                                      const std::string& sha256) override {
    std::string name = sha256;
    if (name.empty()) {
      ASSIGN_OR_RETURN(name, DigestOf(source));
    } else if (!IsObjectName(name)) {
      return NameInvalid();
    }
    std::string path = Path(name);
    if (access(path.c_str(), F_OK) == 0) {
      unlink(source.c_str());
      return name;
    }
    RETURN_IF_ERROR(base::MakeDirectories(Folder(name), 0700));
    int fd = open(source.c_str(), O_RDONLY | O_CLOEXEC);
    if (fd < 0) return base::ErrnoStatus(errno, "open the file to store");
    fchmod(fd, 0400);
    int synced = fdatasync(fd);
    int error = errno;
    if (synced != 0) {
      close(fd);
      return base::ErrnoStatus(error, "make the file durable");
    }
    if (rename(source.c_str(), path.c_str()) == 0) {
      close(fd);
      return name;
    }
    error = errno;
    absl::Status copied =
        error == EXDEV ? Copy(fd, path) : base::ErrnoStatus(error, "move the file into the store");
    close(fd);
    RETURN_IF_ERROR(copied);
    unlink(source.c_str());
    return name;
  }

  absl::StatusOr<std::string> Get(const std::string& name, uint64_t limit) override {
    ASSIGN_OR_RETURN(std::string path, LocalPath(name));
    ASSIGN_OR_RETURN(std::string bytes, base::ReadFile(path, limit));
    if (crypto::Sha256Hex(bytes) != name) {
      return base::Error(absl::StatusCode::kDataLoss, "OBJECT_CORRUPT",
                         "the stored bytes do not have the digest they are named by; restore the "
                         "object from a backup",
                         {{"sha256", name}});
    }
    return bytes;
  }

  absl::StatusOr<std::string> LocalPath(const std::string& name) override {
    if (!IsObjectName(name)) return NameInvalid();
    std::string path = Path(name);
    if (access(path.c_str(), F_OK) != 0) return NotFound(name);
    return path;
  }

  absl::StatusOr<bool> Exists(const std::string& name) override {
    if (!IsObjectName(name)) return NameInvalid();
    return access(Path(name).c_str(), F_OK) == 0;
  }

  absl::StatusOr<uint64_t> Size(const std::string& name) override {
    ASSIGN_OR_RETURN(std::string path, LocalPath(name));
    struct stat info{};
    if (stat(path.c_str(), &info) != 0) return NotFound(name);
    return static_cast<uint64_t>(info.st_size);
  }

  absl::Status Remove(const std::string& name) override {
    if (!IsObjectName(name)) return NameInvalid();
    if (unlink(Path(name).c_str()) != 0 && errno != ENOENT) {
      return base::ErrnoStatus(errno, "remove an object");
    }
    return absl::OkStatus();
  }

  absl::Status List(const std::function<bool(const std::string&)>& visit) override {
    ASSIGN_OR_RETURN(std::vector<std::string> files, base::ListFiles(root_));
    for (const std::string& file : files) {
      std::string name = file.substr(file.rfind('/') + 1);
      if (IsObjectName(name) && !visit(name)) break;
    }
    return absl::OkStatus();
  }

 private:
  std::string Folder(const std::string& name) const {
    return absl::StrCat(root_, "/", name.substr(0, 2), "/", name.substr(2, 2));
  }
  std::string Path(const std::string& name) const { return absl::StrCat(Folder(name), "/", name); }

  static absl::StatusOr<std::string> DigestOf(const std::string& path) {
    int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC);
    if (fd < 0) return base::ErrnoStatus(errno, "open the file to store");
    crypto::Sha256 digest;
    std::vector<char> buffer(kCopyBytes);
    ssize_t got;
    while ((got = read(fd, buffer.data(), buffer.size())) > 0) {
      digest.Update(absl::string_view(buffer.data(), static_cast<size_t>(got)));
    }
    int error = errno;
    close(fd);
    if (got < 0) return base::ErrnoStatus(error, "read the file to store");
    return digest.FinishHex();
  }

  static absl::Status Copy(int fd, const std::string& path) {
    ASSIGN_OR_RETURN(base::AtomicFile file, base::AtomicFile::Create(path, 0400));
    std::vector<char> buffer(kCopyBytes);
    ssize_t got;
    while ((got = read(fd, buffer.data(), buffer.size())) > 0) {
      RETURN_IF_ERROR(file.Append(absl::string_view(buffer.data(), static_cast<size_t>(got))));
    }
    if (got < 0) return base::ErrnoStatus(errno, "read the file to store");
    return file.Commit();
  }

  const std::string root_;
};

}  // namespace

bool IsObjectName(absl::string_view name) {
  return name.size() == 64 && std::all_of(name.begin(), name.end(), [](char c) {
           return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f');
         });
}

absl::StatusOr<std::unique_ptr<ObjectStore>> OpenFolder(const std::string& root) {
  RETURN_IF_ERROR(base::MakeDirectories(root, 0700));
  return std::unique_ptr<ObjectStore>(std::make_unique<FolderStore>(root));
}

}  // namespace oncomesh::objects
