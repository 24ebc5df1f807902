// SPDX-License-Identifier: Apache-2.0
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <set>
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
    if (!IsWhole(name)) {
      RETURN_IF_ERROR(base::MakeDirectories(Folder(name), 0700));
      RETURN_IF_ERROR(base::WriteFileAtomically(path, bytes, 0400));
    }
    for (const std::string& folder : FoldersOf(name)) RETURN_IF_ERROR(SyncFolder(folder));
    return name;
  }

  absl::StatusOr<std::string> PutFile(const std::string& source,
                                      const std::string& sha256) override {
    return PutFiles({{source, sha256}})[0];
  }

  // Every step is done for all files before the next one, so that the file system writes them out
  // together and commits its journal twice for all of them and not for each.
  std::vector<absl::StatusOr<std::string>> PutFiles(const std::vector<FileToPut>& files) override {
    std::vector<Arrival> arrivals(files.size());
    for (size_t i = 0; i < files.size(); ++i) {
      arrivals[i].status = Begin(files[i], arrivals[i]);
    }
    for (Arrival& arrival : arrivals) {
      if (arrival.fd < 0 || !arrival.status.ok()) continue;
      if (fdatasync(arrival.fd) != 0) {
        arrival.status = base::ErrnoStatus(errno, "make the file durable");
      }
    }
    std::set<std::string> folders;
    for (size_t i = 0; i < files.size(); ++i) {
      Arrival& arrival = arrivals[i];
      if (arrival.status.ok() && arrival.fd >= 0) arrival.status = Move(files[i].path, arrival);
      if (!arrival.status.ok()) continue;
      for (std::string& folder : FoldersOf(arrival.name)) folders.insert(std::move(folder));
    }
    absl::Status synced;
    for (const std::string& folder : folders) synced.Update(SyncFolder(folder));
    std::vector<absl::StatusOr<std::string>> out;
    for (Arrival& arrival : arrivals) {
      if (arrival.fd >= 0) close(arrival.fd);
      arrival.status.Update(synced);
      if (arrival.status.ok()) {
        out.emplace_back(std::move(arrival.name));
      } else {
        out.emplace_back(arrival.status);
      }
    }
    return out;
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
    if (access(path.c_str(), F_OK) != 0) return WhyNotThere(name, errno);
    return path;
  }

  absl::StatusOr<bool> Exists(const std::string& name) override {
    absl::StatusOr<std::string> path = LocalPath(name);
    if (absl::IsNotFound(path.status())) return false;
    RETURN_IF_ERROR(path.status());
    return true;
  }

  absl::StatusOr<uint64_t> Size(const std::string& name) override {
    ASSIGN_OR_RETURN(std::string path, LocalPath(name));
    struct stat info{};
    if (stat(path.c_str(), &info) != 0) return WhyNotThere(name, errno);
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
  // An object is absent only from a store that is there: a volume that is not mounted, or a disk
  // that fails, says nothing of what it holds.
  absl::Status WhyNotThere(const std::string& name, int error) const {
    if (error == ENOENT) {
      if (access(root_.c_str(), F_OK) == 0) return NotFound(name);
      error = errno;
    }
    return base::Error(absl::StatusCode::kUnavailable, "OBJECTS_UNAVAILABLE",
                       absl::StrCat("the folder of the objects cannot be looked into: ",
                                    std::strerror(error), "; see that its volume is mounted"));
  }

  // A file on its way in.
  struct Arrival {
    std::string name;
    absl::Status status;
    int fd = -1;  // stays so when the object was there already
  };

  // Finds the name, and starts the writing out without waiting for it.
  absl::Status Begin(const FileToPut& file, Arrival& arrival) {
    arrival.name = file.sha256;
    if (arrival.name.empty()) {
      ASSIGN_OR_RETURN(arrival.name, DigestOf(file.path));
    } else if (!IsObjectName(arrival.name)) {
      return NameInvalid();
    }
    if (IsWhole(arrival.name)) {
      unlink(file.path.c_str());
      return absl::OkStatus();
    }
    RETURN_IF_ERROR(base::MakeDirectories(Folder(arrival.name), 0700));
    arrival.fd = open(file.path.c_str(), O_RDONLY | O_CLOEXEC);
    if (arrival.fd < 0) return base::ErrnoStatus(errno, "open the file to store");
    fchmod(arrival.fd, 0400);
    // Only a beginning: whether the bytes are on the disk, fdatasync says.
    (void)sync_file_range(arrival.fd, 0, 0, SYNC_FILE_RANGE_WRITE);
    return absl::OkStatus();
  }

  absl::Status Move(const std::string& source, const Arrival& arrival) {
    const std::string path = Path(arrival.name);
    if (rename(source.c_str(), path.c_str()) == 0) return absl::OkStatus();
    // The same bytes twice in one call: the first has taken the name.
    if (errno == ENOENT && access(path.c_str(), F_OK) == 0) return absl::OkStatus();
    if (errno != EXDEV) return base::ErrnoStatus(errno, "move the file into the store");
    RETURN_IF_ERROR(Copy(arrival.fd, path));
    unlink(source.c_str());
    return absl::OkStatus();
  }

  static absl::Status SyncFolder(const std::string& path) {
    int fd = open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) return base::ErrnoStatus(errno, "open a folder of the store");
    int synced = fsync(fd);
    int error = errno;
    close(fd);
    // Some file systems cannot sync a folder; they say EINVAL.
    if (synced != 0 && error != EINVAL) return base::ErrnoStatus(error, "sync a folder");
    return absl::OkStatus();
  }

  // Whether the object is there with the bytes of its name. One that was damaged on the disk is
  // replaced by the next that comes: sending an object again is how it is mended.
  bool IsWhole(const std::string& name) const {
    const std::string path = Path(name);
    if (access(path.c_str(), F_OK) != 0) return false;
    absl::StatusOr<std::string> digest = DigestOf(path);
    return digest.ok() && *digest == name;
  }

  std::string Folder(const std::string& name) const {
    return absl::StrCat(root_, "/", name.substr(0, 2), "/", name.substr(2, 2));
  }
  // What must be synced for the object to keep its name, also when it was there already: whoever
  // put it there may not have come this far. A folder that was made now has its own name in the
  // folder above it.
  std::vector<std::string> FoldersOf(const std::string& name) const {
    const std::string folder = Folder(name);
    return {folder, folder.substr(0, folder.rfind('/')), root_};
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
