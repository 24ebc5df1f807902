// SPDX-License-Identifier: Apache-2.0
// What every object store must do; run on each implementation.
#include <sys/syscall.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <filesystem>
#include <fstream>
#include <set>
#include <string>
#include <system_error>

#include "libs/base/files.h"
#include "libs/objects/object_store.h"
#include "libs/testing/status_matchers.h"
#include "libs/testing/temporary_folder.h"

namespace {
std::set<std::string> synced_folders;
}  // namespace

// In place of the C library's, for the whole test program.
extern "C" int fsync(int fd) {
  std::error_code error;
  const auto path = std::filesystem::read_symlink("/proc/self/fd/" + std::to_string(fd), error);
  if (!error && std::filesystem::is_directory(path, error)) synced_folders.insert(path);
  return static_cast<int>(syscall(SYS_fsync, fd));
}

namespace oncomesh::objects {
namespace {

// printf abc | sha256sum
constexpr char kAbc[] = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

void CheckContract(ObjectStore& store, const std::string& scratch) {
  REQUIRE_VALUE(std::string name, store.Put("abc"));
  CHECK(name == kAbc);
  REQUIRE_VALUE(std::string again, store.Put("abc"));
  CHECK(again == name);
  REQUIRE_VALUE(std::string bytes, store.Get(name));
  CHECK(bytes == "abc");
  REQUIRE_REASON(store.Get(name, 2), absl::StatusCode::kResourceExhausted, "FILE_TOO_LARGE");
  REQUIRE_VALUE(uint64_t size, store.Size(name));
  CHECK(size == 3);

  // A file is taken over, not copied beside.
  REQUIRE_OK(base::WriteFileAtomically(scratch + "/in", "other"));
  REQUIRE_VALUE(std::string other, store.PutFile(scratch + "/in"));
  REQUIRE_REASON(base::ReadFile(scratch + "/in"), absl::StatusCode::kNotFound, "FILE_NOT_FOUND");
  REQUIRE_VALUE(std::string stored, store.Get(other));
  CHECK(stored == "other");

  // Several at once: one that is there, two of the same bytes, one that is missing.
  for (const char* file : {"/b1", "/b2", "/b3"}) {
    REQUIRE_OK(base::WriteFileAtomically(scratch + file, file == std::string("/b1") ? "abc" : "b"));
  }
  auto answers = store.PutFiles({{scratch + "/b1", kAbc},
                                 {scratch + "/b2", ""},
                                 {scratch + "/none", ""},
                                 {scratch + "/b3", ""},
                                 {scratch + "/b3", "ABC"}});
  REQUIRE(answers.size() == 5);
  REQUIRE_OK(answers[0]);
  CHECK(*answers[0] == kAbc);
  REQUIRE_OK(answers[1]);
  REQUIRE_REASON(answers[2], absl::StatusCode::kNotFound, "FILE_NOT_FOUND");
  REQUIRE_OK(answers[3]);
  CHECK(*answers[3] == *answers[1]);
  REQUIRE_REASON(answers[4], absl::StatusCode::kInvalidArgument, "OBJECT_NAME_INVALID");
  REQUIRE_VALUE(std::string b, store.Get(*answers[3]));
  CHECK(b == "b");
  for (const char* file : {"/b1", "/b2", "/b3"}) {
    REQUIRE_REASON(base::ReadFile(scratch + file), absl::StatusCode::kNotFound, "FILE_NOT_FOUND");
  }
  REQUIRE_OK(store.Remove(*answers[3]));

  std::set<std::string> listed;
  REQUIRE_OK(store.List([&](const std::string& sha256) {
    listed.insert(sha256);
    return true;
  }));
  CHECK(listed == std::set<std::string>{name, other});

  REQUIRE_OK(store.Remove(name));
  REQUIRE_OK(store.Remove(name));
  REQUIRE_REASON(store.Get(name), absl::StatusCode::kNotFound, "OBJECT_NOT_FOUND");
  REQUIRE_VALUE(bool there, store.Exists(name));
  CHECK_FALSE(there);
  for (const char* bad : {"", "../../etc/passwd",
                          "BA7816BF8F01CFEA414140DE5DAE2223B00361A396177A9CB410FF61F20015AD"}) {
    REQUIRE_REASON(store.Get(bad), absl::StatusCode::kInvalidArgument, "OBJECT_NAME_INVALID");
  }
}

TEST_CASE("object store contract: folder") {
  testing::TemporaryFolder folder;
  REQUIRE_VALUE(auto store, OpenFolder(folder / "objects"));
  CheckContract(*store, folder.path());
}

TEST_CASE("object store: an object that was damaged on the disk is mended by storing it again") {
  testing::TemporaryFolder folder;
  REQUIRE_VALUE(auto store, OpenFolder(folder / "objects"));
  REQUIRE_VALUE(std::string name, store->Put("abc"));
  REQUIRE_VALUE(std::string path, store->LocalPath(name));
  for (const char* damage : {"abd", "ab", ""}) {
    INFO("\"" << damage << "\"");
    REQUIRE_OK(base::WriteFileAtomically(path, damage));
    REQUIRE_REASON(store->Get(name), absl::StatusCode::kDataLoss, "OBJECT_CORRUPT");
    REQUIRE_OK(store->Put("abc"));
    REQUIRE_VALUE(std::string bytes, store->Get(name));
    CHECK(bytes == "abc");

    REQUIRE_OK(base::WriteFileAtomically(path, damage));
    REQUIRE_OK(base::WriteFileAtomically(folder / "in", "abc"));
    REQUIRE_OK(store->PutFile(folder / "in", kAbc));
    REQUIRE_VALUE(bytes, store->Get(name));
    CHECK(bytes == "abc");
    REQUIRE_REASON(base::ReadFile(folder / "in"), absl::StatusCode::kNotFound, "FILE_NOT_FOUND");
  }
}

TEST_CASE("object store: what was put keeps its name in every folder above, whoever came first") {
  testing::TemporaryFolder folder;
  const std::string root = folder / "objects";
  REQUIRE_VALUE(auto store, OpenFolder(root));
  const std::set<std::string> wanted = {root, root + "/ba", root + "/ba/78"};
  for (const char* state : {"new", "there already"}) {
    INFO(state);
    synced_folders.clear();
    REQUIRE_OK(store->Put("abc"));
    CHECK(synced_folders == wanted);
  }
  REQUIRE_OK(base::WriteFileAtomically(folder / "in", "abc"));
  synced_folders.clear();
  REQUIRE_OK(store->PutFile(folder / "in"));
  CHECK(synced_folders == wanted);
}

TEST_CASE("object store: an object is absent only from a store that is there") {
  testing::TemporaryFolder folder;
  REQUIRE_VALUE(auto store, OpenFolder(folder / "objects"));
  REQUIRE_VALUE(std::string name, store->Put("abc"));
  auto away = [&] {
    constexpr auto kUnavailable = absl::StatusCode::kUnavailable;
    REQUIRE_REASON(store->LocalPath(name), kUnavailable, "OBJECTS_UNAVAILABLE");
    REQUIRE_REASON(store->Get(name), kUnavailable, "OBJECTS_UNAVAILABLE");
    REQUIRE_REASON(store->Size(name), kUnavailable, "OBJECTS_UNAVAILABLE");
    REQUIRE_REASON(store->Exists(name), kUnavailable, "OBJECTS_UNAVAILABLE");
  };
  // The whole store, as when its volume is not mounted.
  std::filesystem::rename(folder / "objects", folder / "elsewhere");
  away();
  std::filesystem::rename(folder / "elsewhere", folder / "objects");
  CHECK(store->LocalPath(name).ok());
  // A part of it that is no folder any more.
  const std::string part = folder / "objects/" + name.substr(0, 2);
  std::filesystem::rename(part, folder / "part");
  REQUIRE_REASON(store->LocalPath(name), absl::StatusCode::kNotFound, "OBJECT_NOT_FOUND");
  REQUIRE_OK(base::WriteFileAtomically(part, "a file"));
  away();
}

TEST_CASE("object store: bytes that changed on disk are noticed, not served") {
  testing::TemporaryFolder folder;
  REQUIRE_VALUE(auto store, OpenFolder(folder / "objects"));
  REQUIRE_VALUE(std::string name, store->Put("abc"));
  REQUIRE_VALUE(std::string path, store->LocalPath(name));
  REQUIRE_OK(base::WriteFileAtomically(path, "abd"));
  REQUIRE_REASON(store->Get(name), absl::StatusCode::kDataLoss, "OBJECT_CORRUPT");
}

}  // namespace
}  // namespace oncomesh::objects
