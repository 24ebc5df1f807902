// SPDX-License-Identifier: Apache-2.0
#include "libs/base/files.h"

#include <sys/stat.h>

#include <catch2/catch.hpp>
#include <cerrno>

#include "libs/base/unfinished_files.h"
#include "libs/testing/status_matchers.h"
#include "libs/testing/temporary_folder.h"

namespace oncomesh::base {
namespace {

TEST_CASE("files: what is written whole is read whole, with exactly the mode asked for") {
  testing::TemporaryFolder folder;
  REQUIRE_OK(WriteFileAtomically(folder / "key", "secret", 0600));
  REQUIRE_VALUE(std::string content, ReadFile(folder / "key"));
  CHECK(content == "secret");
  struct stat info{};
  REQUIRE(stat((folder / "key").c_str(), &info) == 0);
  CHECK((info.st_mode & 0777) == 0600);
}

TEST_CASE("files: an existing file is kept unless overwriting was asked for") {
  testing::TemporaryFolder folder;
  REQUIRE_OK(WriteFileAtomically(folder / "a", "old"));
  REQUIRE_REASON(WriteFileAtomically(folder / "a", "new", 0644, /*overwrite=*/false),
                 absl::StatusCode::kAlreadyExists, "FILE_EXISTS");
  REQUIRE_VALUE(std::string content, ReadFile(folder / "a"));
  CHECK(content == "old");
  REQUIRE_VALUE(auto files, ListFiles(folder.path()));
  CHECK(files.size() == 1);  // nothing half-written is left behind
}

TEST_CASE("files: a file that is not committed leaves nothing") {
  testing::TemporaryFolder folder;
  {
    REQUIRE_VALUE(AtomicFile file, AtomicFile::Create(folder / "b"));
    REQUIRE_OK(file.Append("half"));
  }
  REQUIRE_VALUE(auto files, ListFiles(folder.path()));
  CHECK(files.empty());
}

TEST_CASE("files: missing and too large files say so") {
  testing::TemporaryFolder folder;
  REQUIRE_REASON(ReadFile(folder / "none"), absl::StatusCode::kNotFound, "FILE_NOT_FOUND");
  REQUIRE_OK(WriteFileAtomically(folder / "c", "12345"));
  REQUIRE_REASON(ReadFile(folder / "c", 4), absl::StatusCode::kResourceExhausted, "FILE_TOO_LARGE");
}

// The kernel makes a file system read-only when its disk fails.
TEST_CASE("files: a disk that became read-only is trouble with the disk, not a refusal") {
  REQUIRE_REASON(ErrnoStatus(EROFS, "write"), absl::StatusCode::kUnavailable, "FILE_ERROR");
  REQUIRE_REASON(ErrnoStatus(EACCES, "write"), absl::StatusCode::kPermissionDenied,
                 "FILE_NOT_ALLOWED");
  for (int error : {ENOSPC, EDQUOT, EFBIG}) {
    REQUIRE_REASON(ErrnoStatus(error, "write"), absl::StatusCode::kResourceExhausted, "DISK_FULL");
  }
}

TEST_CASE("files: a signal handler can remove what is not finished, and nothing else") {
  testing::TemporaryFolder folder;
  REQUIRE_OK(WriteFileAtomically(folder / "done", "1"));
  REQUIRE_VALUE(AtomicFile unfinished, AtomicFile::Create(folder / "half"));
  AtomicFile moved(std::move(unfinished));
  REQUIRE_OK(moved.Append("2"));
  REQUIRE_VALUE(AtomicFile committed, AtomicFile::Create(folder / "whole"));
  REQUIRE_OK(committed.Commit());
  RemoveUnfinishedFiles();
  REQUIRE_VALUE(auto files, ListFiles(folder.path()));
  CHECK(files == std::vector<std::string>{folder / "done", folder / "whole"});
}

}  // namespace
}  // namespace oncomesh::base
