// SPDX-License-Identifier: Apache-2.0
// Content-addressed objects: an object's name is the SHA-256 of its bytes, in 64 lower-case
// hexadecimal digits. Putting the same bytes twice stores them once. Folder here; S3 later behind
// the same interface and the same contract suite.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace oncomesh::objects {

// Any thread may call it; other processes may use the same store at the same time.
class ObjectStore {
 public:
  virtual ~ObjectStore() = default;

  // Stores `bytes` and returns their name, durable. Here as below, an object that is there already
  // is looked at, and replaced when it no longer has the bytes of its name. Errors:
  // RESOURCE_EXHAUSTED (DISK_FULL).
  virtual absl::StatusOr<std::string> Put(absl::string_view bytes) = 0;

  // Takes over the file at `path` (same file system: moved, else copied and removed). `sha256` is
  // what the caller computed while writing it; empty: it is computed here. Durable when OK.
  virtual absl::StatusOr<std::string> PutFile(const std::string& path,
                                              const std::string& sha256 = "") = 0;

  // The same for several files, which are made durable together: about as dear as one of them. An
  // answer for each, in their order; a file whose answer is an error is as it was.
  struct FileToPut {
    std::string path;
    std::string sha256;
  };
  virtual std::vector<absl::StatusOr<std::string>> PutFiles(
      const std::vector<FileToPut>& files) = 0;

  // The whole object. Errors: NOT_FOUND (OBJECT_NOT_FOUND) when the store is there and has no such
  // object, UNAVAILABLE (OBJECTS_UNAVAILABLE) when it cannot be looked into, INVALID_ARGUMENT
  // (OBJECT_NAME_INVALID), RESOURCE_EXHAUSTED (FILE_TOO_LARGE) past `limit`, DATA_LOSS
  // (OBJECT_CORRUPT) when the bytes do not have this name.
  virtual absl::StatusOr<std::string> Get(const std::string& sha256,
                                          uint64_t limit = 1ull << 30) = 0;

  // A path at which the object can be read without a copy; valid until it is removed. The bytes are
  // not checked. Errors as Get.
  virtual absl::StatusOr<std::string> LocalPath(const std::string& sha256) = 0;

  // Errors: UNAVAILABLE (OBJECTS_UNAVAILABLE), INVALID_ARGUMENT (OBJECT_NAME_INVALID).
  virtual absl::StatusOr<bool> Exists(const std::string& sha256) = 0;
  // Bytes. Errors: as Exists, NOT_FOUND (OBJECT_NOT_FOUND).
  virtual absl::StatusOr<uint64_t> Size(const std::string& sha256) = 0;
  // OK when it is gone, also when it was not there.
  virtual absl::Status Remove(const std::string& sha256) = 0;
  // Calls `visit` for every object, in no order, until it returns false.
  virtual absl::Status List(const std::function<bool(const std::string& sha256)>& visit) = 0;
};

// A folder: `<root>/ab/cd/<sha256>`, written under a temporary name, made durable, renamed.
absl::StatusOr<std::unique_ptr<ObjectStore>> OpenFolder(const std::string& root);

// True for 64 lower-case hexadecimal digits.
bool IsObjectName(absl::string_view name);

}  // namespace oncomesh::objects
