// SPDX-License-Identifier: Apache-2.0
#include "libs/ledger/log.h"

#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <catch2/catch.hpp>
#include <cerrno>
#include <csignal>
#include <filesystem>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "libs/base/files.h"
#include "libs/base/log.h"
#include "libs/ledger/tree.h"
#include "libs/ledger/verify.h"
#include "libs/testing/status_matchers.h"
#include "libs/testing/temporary_folder.h"

namespace {
std::atomic<bool> folder_syncs_fail{false};
}  // namespace

// In place of the C library's, for the whole test program.
extern "C" int fsync(int fd) {
  struct stat info{};
  if (folder_syncs_fail && fstat(fd, &info) == 0 && S_ISDIR(info.st_mode)) {
    errno = EIO;
    return -1;
  }
  return static_cast<int>(syscall(SYS_fsync, fd));
}

namespace oncomesh::ledger {
namespace {

namespace fs = std::filesystem;
using absl::StatusCode;
using crypto::KeyType;
using crypto::PrivateKey;

constexpr char kOrigin[] = "mesh.example/audit/north";

// Recovery warns of every tail it cuts off, as these tests make it do hundreds of times.
struct QuietLog {
  QuietLog() {
    base::SetLogSink([](const std::string&) {});
  }
  ~QuietLog() { base::SetLogSink(nullptr); }
};

struct Site {
  QuietLog quiet;
  testing::TemporaryFolder folder;
  PrivateKey key = PrivateKey::Generate(KeyType::kEd25519);
  uint64_t segment_bytes = 64 << 20;

  absl::StatusOr<std::unique_ptr<Log>> Open(const std::string& name = "log") const {
    return Log::Open(Log::Options{.folder = folder / name,
                                  .origin = kOrigin,
                                  .key = key,
                                  .tag = [](absl::string_view leaf) { return leaf.size(); },
                                  .segment_bytes = segment_bytes});
  }
  NoteKey Verifier() const { return *NoteKey::Make(kOrigin, NoteKeyType::kEd25519, key.Public()); }
  std::string OnlySegment(const std::string& name = "log") const {
    return SegmentPath(folder / name, 0);
  }
  void Copy(const std::string& from, const std::string& to) const {
    fs::remove_all(folder / to);
    fs::copy(folder / from, folder / to, fs::copy_options::recursive);
  }
  // Leaves the segments alone: as after a crash before the first marker and checkpoint.
  void KeepSegmentsOnly(const std::string& name) const {
    for (const char* file : {"hashes", "places", "marker", "checkpoint"}) {
      fs::remove(folder / (name + "/" + file));
    }
  }
};

std::string Leaf(uint64_t i) { return absl::StrCat("{\"entry\":", i, "}"); }

Hash RootOf(uint64_t size) {
  Frontier frontier;
  for (uint64_t i = 0; i < size; ++i) frontier.Append(LeafHash(Leaf(i)));
  return frontier.Root();
}

std::string ReadAll(const std::string& path) { return *base::ReadFile(path); }
void WriteAll(const std::string& path, const std::string& bytes) {
  REQUIRE_OK(base::WriteFileAtomically(path, bytes));
}

TEST_CASE("log: what was appended is read, proved and still there after it is opened again") {
  Site site;
  constexpr uint64_t kSize = 37;
  std::string note;
  {
    REQUIRE_VALUE(auto log, site.Open());
    CHECK(log->size() == 0);
    for (uint64_t i = 0; i < kSize; ++i) {
      REQUIRE_VALUE(uint64_t index, log->Append(Leaf(i)));
      REQUIRE(index == i);
    }
    REQUIRE_VALUE(note, log->SignedCheckpoint());
  }
  for (bool derived : {true, false}) {
    if (!derived) site.KeepSegmentsOnly("log");
    REQUIRE_VALUE(auto log, site.Open());
    REQUIRE(log->size() == kSize);
    REQUIRE_VALUE(Hash root, log->Root(kSize));
    CHECK(root == RootOf(kSize));
    REQUIRE_VALUE(Checkpoint checkpoint, VerifyCheckpoint(note, site.Verifier()));
    CHECK(checkpoint.root == root);
    for (uint64_t i = 0; i < kSize; ++i) {
      REQUIRE_VALUE(std::string leaf, log->Read(i));
      REQUIRE(leaf == Leaf(i));
      REQUIRE_VALUE(Proof proof, log->Inclusion(i, kSize));
      REQUIRE_OK(VerifyInclusion(i, kSize, LeafHash(leaf), proof, root));
      if (i == 0) continue;
      REQUIRE_VALUE(Proof older, log->Consistency(i, kSize));
      REQUIRE_OK(VerifyConsistency(i, kSize, older, RootOf(i), root));
    }
  }
}

TEST_CASE("log: what does not exist is refused") {
  Site site;
  REQUIRE_VALUE(auto log, site.Open());
  REQUIRE_OK(log->Append("a"));
  for (uint64_t index : {uint64_t{1}, ~uint64_t{0}}) {
    REQUIRE_REASON(log->Read(index), StatusCode::kInvalidArgument, "INDEX_OUT_OF_RANGE");
    REQUIRE_REASON(log->Inclusion(index, 1), StatusCode::kInvalidArgument, "INDEX_OUT_OF_RANGE");
  }
  REQUIRE_REASON(log->Inclusion(0, 2), StatusCode::kInvalidArgument, "INDEX_OUT_OF_RANGE");
  REQUIRE_REASON(log->Root(2), StatusCode::kInvalidArgument, "INDEX_OUT_OF_RANGE");
  REQUIRE_REASON(log->Consistency(0, 1), StatusCode::kInvalidArgument, "INDEX_OUT_OF_RANGE");
  REQUIRE_REASON(log->Append(std::string(kMaxLeafBytes + 1, 'x')), StatusCode::kInvalidArgument,
                 "LEAF_TOO_LARGE");
  REQUIRE_REASON(log->Append(std::vector<std::string>{}), StatusCode::kInvalidArgument,
                 "LEAF_COUNT");
  CHECK(log->size() == 1);
  REQUIRE_REASON(site.Open(), StatusCode::kFailedPrecondition, "LOG_IN_USE");
}

TEST_CASE("log: entries of many threads all get a place of their own") {
  Site site;
  site.segment_bytes = 20'000;  // several segments
  constexpr int kThreads = 8, kEach = 200;
  std::vector<std::vector<uint64_t>> places(kThreads);
  {
    REQUIRE_VALUE(auto log, site.Open());
    std::atomic<int> failures{0};
    std::vector<std::thread> threads;
    for (int t = 0; t < kThreads; ++t) {
      threads.emplace_back([&, t] {
        for (int i = 0; i < kEach; ++i) {
          auto index = log->Append(absl::StrCat(t, ":", i));
          if (index.ok()) {
            places[t].push_back(*index);
            // A proof is there as soon as the entry is.
            if (!log->Inclusion(*index, *index + 1).ok()) ++failures;
          } else {
            ++failures;
          }
        }
      });
    }
    for (std::thread& thread : threads) thread.join();
    REQUIRE(failures == 0);
  }
  REQUIRE_VALUE(auto log, site.Open());
  REQUIRE(log->size() == kThreads * kEach);
  std::vector<bool> taken(log->size(), false);
  for (int t = 0; t < kThreads; ++t) {
    for (int i = 0; i < kEach; ++i) {
      const uint64_t index = places[t][i];
      REQUIRE_FALSE(taken[index]);
      taken[index] = true;
      REQUIRE_VALUE(std::string leaf, log->Read(index));
      REQUIRE(leaf == absl::StrCat(t, ":", i));
    }
  }
  REQUIRE_VALUE(FolderReport report, VerifyFolder(site.folder / "log", site.Verifier()));
  CHECK(report.ok());
  CHECK(report.segments >= 2);
  CHECK(report.size == log->size());
}

TEST_CASE("log: several entries go in together and in order") {
  Site site;
  REQUIRE_VALUE(auto log, site.Open());
  REQUIRE_OK(log->Append("first"));
  REQUIRE_VALUE(uint64_t first, log->Append(std::vector<std::string>{"a", "bb", "ccc"}));
  CHECK(first == 1);
  REQUIRE_VALUE(std::string leaf, log->Read(3));
  CHECK(leaf == "ccc");
  REQUIRE_VALUE(Entry entry, log->Find(2, 100, [](absl::string_view l) { return l == "bb"; }));
  CHECK(entry.index == 2);
  REQUIRE_REASON(log->Find(2, 1, [](absl::string_view) { return true; }), StatusCode::kNotFound,
                 "ENTRY_NOT_FOUND");
  REQUIRE_REASON(log->Find(2, 100, [](absl::string_view l) { return l == "xx"; }),
                 StatusCode::kNotFound, "ENTRY_NOT_FOUND");
}

TEST_CASE("log: a tail torn at any byte is cut off, and nothing before it") {
  Site site;
  {
    REQUIRE_VALUE(auto log, site.Open());
    for (uint64_t i = 0; i < 4; ++i) REQUIRE_OK(log->Append(Leaf(i)));
    REQUIRE_OK(log->Append(std::vector<std::string>{Leaf(4), Leaf(5), Leaf(6)}));
  }
  site.KeepSegmentsOnly("log");
  const std::string whole = ReadAll(site.OnlySegment());
  std::string commit;
  AppendCommitFrame(Commit{}, commit);
  std::string last_group;
  for (uint64_t i = 4; i < 7; ++i) AppendLeafFrame(Leaf(i), last_group);
  const size_t acknowledged = whole.size() - last_group.size() - commit.size();
  const std::vector<std::string> fills = {"", std::string(20, '\0'), "LEAF\xff\xff\xff\xff"};
  for (size_t length = acknowledged; length < whole.size(); length += 7) {
    INFO(length);
    site.Copy("log", "torn");
    WriteAll(site.OnlySegment("torn"), whole.substr(0, length) + fills[length % fills.size()]);
    REQUIRE_VALUE(auto log, site.Open("torn"));
    REQUIRE(log->size() == 4);
    REQUIRE_VALUE(uint64_t index, log->Append(Leaf(4)));
    REQUIRE(index == 4);
    REQUIRE_VALUE(Hash root, log->Root(5));
    REQUIRE(root == RootOf(5));
  }
  // Pages of a group can reach the disk out of order: its commit may be there without its leaves.
  std::string holes = whole;
  std::fill_n(holes.begin() + static_cast<long>(acknowledged), 30, '\0');
  site.Copy("log", "torn");
  WriteAll(site.OnlySegment("torn"), holes);
  REQUIRE_VALUE(auto log, site.Open("torn"));
  CHECK(log->size() == 4);
}

TEST_CASE("log: a flipped bit in an acknowledged entry stops the log, it is never cut off") {
  Site site;
  {
    REQUIRE_VALUE(auto log, site.Open());
    for (uint64_t i = 0; i < 4; ++i) REQUIRE_OK(log->Append(Leaf(i)));
  }
  const std::string whole = ReadAll(site.OnlySegment());
  for (size_t at = 0; at < whole.size(); at += 3) {
    INFO(at);
    std::string bent = whole;
    bent[at] = static_cast<char>(bent[at] ^ 4);
    site.Copy("log", "bent");
    WriteAll(site.OnlySegment("bent"), bent);
    REQUIRE_VALUE(FolderReport report, VerifyFolder(site.folder / "bent", site.Verifier()));
    CHECK_FALSE(report.ok());
    // Without the marker everything is read again; with the checkpoint nothing can be missing.
    fs::remove(site.folder / "bent/marker");
    absl::Status status = site.Open("bent").status();
    CHECK(status.code() == StatusCode::kDataLoss);
  }
}

TEST_CASE("log: without any checkpoint, damage before the last group is still not a torn tail") {
  Site site;
  {
    REQUIRE_VALUE(auto log, site.Open());
    for (uint64_t i = 0; i < 4; ++i) REQUIRE_OK(log->Append(Leaf(i)));
  }
  site.KeepSegmentsOnly("log");
  const std::string whole = ReadAll(site.OnlySegment());
  std::string group;
  AppendLeafFrame(Leaf(0), group);
  AppendCommitFrame(Commit{}, group);
  // Groups 0 and 1 have two later ones behind them, group 2 one.
  for (size_t at = kSegmentHeaderBytes; at < kSegmentHeaderBytes + 3 * group.size(); at += 5) {
    INFO(at);
    std::string bent = whole;
    bent[at] = static_cast<char>(bent[at] ^ 1);
    site.Copy("log", "bent");
    WriteAll(site.OnlySegment("bent"), bent);
    REQUIRE_REASON(site.Open("bent"), StatusCode::kDataLoss, "LOG_CORRUPT");
  }
}

TEST_CASE("log: an older state does not pass for the log") {
  Site site;
  {
    REQUIRE_VALUE(auto log, site.Open());
    for (uint64_t i = 0; i < 5; ++i) REQUIRE_OK(log->Append(Leaf(i)));
  }
  site.Copy("log", "old");
  std::string kept;
  {
    REQUIRE_VALUE(auto log, site.Open());
    for (uint64_t i = 5; i < 9; ++i) REQUIRE_OK(log->Append(Leaf(i)));
    REQUIRE_VALUE(kept, log->SignedCheckpoint());
  }
  // Whoever keeps a checkpoint notices.
  REQUIRE_VALUE(FolderReport old, VerifyFolder(site.folder / "old", site.Verifier(), {kept}));
  REQUIRE(old.findings.size() == 1);
  CHECK(old.findings[0].reason == "LOG_TRUNCATED");
  // The log itself does when its checkpoint survived.
  fs::copy_file(site.folder / "log/checkpoint", site.folder / "old/checkpoint",
                fs::copy_options::overwrite_existing);
  REQUIRE_REASON(site.Open("old"), StatusCode::kDataLoss, "LOG_TRUNCATED");
  // Another history of the same length.
  fs::remove(site.folder / "old/checkpoint");
  {
    REQUIRE_VALUE(auto log, site.Open("old"));
    for (uint64_t i = 5; i < 9; ++i) REQUIRE_OK(log->Append("rewritten"));
  }
  REQUIRE_VALUE(FolderReport split, VerifyFolder(site.folder / "old", site.Verifier(), {kept}));
  REQUIRE(split.findings.size() == 1);
  CHECK(split.findings[0].reason == "LOG_CORRUPT");
  // Another key.
  Site other;
  fs::copy(site.folder / "log", other.folder / "log", fs::copy_options::recursive);
  REQUIRE_REASON(other.Open(), StatusCode::kFailedPrecondition, "LOG_KEY");
}

TEST_CASE("log: damaged hashes are noticed, never proved with, and can be made anew") {
  Site site;
  {
    REQUIRE_VALUE(auto log, site.Open());
    for (uint64_t i = 0; i < 20; ++i) REQUIRE_OK(log->Append(Leaf(i)));
  }
  std::string hashes = ReadAll(site.folder / "log/hashes");
  hashes[0] = static_cast<char>(hashes[0] ^ 1);  // of the first leaf: in no peak
  WriteAll(site.folder / "log/hashes", hashes);
  REQUIRE_VALUE(FolderReport report, VerifyFolder(site.folder / "log", site.Verifier()));
  REQUIRE(report.findings.size() == 1);
  CHECK(report.findings[0].reason == "HASHES_DAMAGED");
  {
    REQUIRE_VALUE(auto log, site.Open());
    REQUIRE_REASON(log->Inclusion(1, 20), StatusCode::kDataLoss, "LOG_CORRUPT");
    REQUIRE_OK(log->Inclusion(9, 20));
  }
  for (const char* file : {"hashes", "places", "marker"}) {
    fs::remove(site.folder / (std::string("log/") + file));
  }
  REQUIRE_VALUE(auto log, site.Open());
  REQUIRE_OK(log->Inclusion(1, 20));
  REQUIRE_VALUE(FolderReport again, VerifyFolder(site.folder / "log", site.Verifier()));
  CHECK(again.ok());
}

TEST_CASE("log: a write that fails leaves the log as it was") {
  Site site;
  REQUIRE_VALUE(auto log, site.Open());
  REQUIRE_OK(log->Append(Leaf(0)));
  // A limit on the size of files fails the write half-way, as a full disk does.
  struct rlimit before{};
  REQUIRE(getrlimit(RLIMIT_FSIZE, &before) == 0);
  auto* old_handler = std::signal(SIGXFSZ, SIG_IGN);
  struct rlimit low = before;
  low.rlim_cur = fs::file_size(site.OnlySegment()) + 40;
  REQUIRE(setrlimit(RLIMIT_FSIZE, &low) == 0);
  absl::Status status = log->Append(std::string(200, 'x')).status();
  absl::Status again = log->Append(std::string(200, 'x')).status();
  REQUIRE(setrlimit(RLIMIT_FSIZE, &before) == 0);
  std::signal(SIGXFSZ, old_handler);
  CHECK_FALSE(status.ok());
  CHECK_FALSE(again.ok());
  CHECK(log->size() == 1);
  REQUIRE_VALUE(uint64_t index, log->Append(Leaf(1)));
  CHECK(index == 1);
  REQUIRE_VALUE(Hash root, log->Root(2));
  CHECK(root == RootOf(2));
  REQUIRE_VALUE(FolderReport report, VerifyFolder(site.folder / "log", site.Verifier()));
  CHECK(report.ok());
  CHECK(report.unfinished_bytes == 0);
}

TEST_CASE("log: a segment that could not be begun leaves the log as it was") {
  Site site;
  site.segment_bytes = 400;
  {
    REQUIRE_VALUE(auto log, site.Open());
    for (uint64_t i = 0; i < 3; ++i) REQUIRE_OK(log->Append(Leaf(i)));
  }
  {
    REQUIRE_VALUE(auto log, site.Open());
    // The new segment has its name when the disk fails.
    folder_syncs_fail = true;
    const absl::Status status = log->Append(std::string(300, 'x')).status();
    folder_syncs_fail = false;
    REQUIRE_REASON(status, StatusCode::kUnavailable, "FILE_ERROR");
    CHECK_FALSE(fs::exists(SegmentPath(site.folder / "log", 3)));
    // This one still fits into the old one.
    REQUIRE_VALUE(uint64_t index, log->Append(Leaf(3)));
    CHECK(index == 3);
  }
  REQUIRE_VALUE(auto log, site.Open());
  REQUIRE(log->size() == 4);
  REQUIRE_VALUE(std::string leaf, log->Read(3));
  CHECK(leaf == Leaf(3));
}

TEST_CASE("log: a segment that was begun in vain hides no entry") {
  Site site;
  site.segment_bytes = 600;
  // The name of entry 2 was given to a new segment, and entries 2 to 4 went into the old one.
  {
    REQUIRE_VALUE(auto log, site.Open());
    for (uint64_t i = 0; i < 5; ++i) REQUIRE_OK(log->Append(Leaf(i)));
  }
  WriteAll(SegmentPath(site.folder / "log", 2), SegmentHeader(2));
  auto check = [&](uint64_t size) {
    REQUIRE_VALUE(FolderReport report, VerifyFolder(site.folder / "log", site.Verifier()));
    CHECK(report.ok());
    CHECK(report.size == size);
    REQUIRE_VALUE(auto log, site.Open());
    REQUIRE(log->size() == size);
    for (uint64_t i = 0; i < size; ++i) {
      REQUIRE_VALUE(std::string leaf, log->Read(i));
      CHECK(leaf == Leaf(i));
    }
    REQUIRE_VALUE(Hash root, log->Root(size));
    CHECK(root == RootOf(size));
  };
  check(5);
  site.KeepSegmentsOnly("log");
  check(5);
  SECTION("a torn end of the segment before it is cut off as ever") {
    site.KeepSegmentsOnly("log");
    const std::string whole = ReadAll(site.OnlySegment());
    std::string group;
    AppendLeafFrame(Leaf(5), group);
    WriteAll(site.OnlySegment(), whole + group);
    check(5);
  }
  SECTION("also the end right at it") {
    site.KeepSegmentsOnly("log");
    std::string two;
    for (uint64_t i = 0; i < 2; ++i) {
      AppendLeafFrame(Leaf(i), two);
      AppendCommitFrame(Commit{}, two);
    }
    WriteAll(site.OnlySegment(),
             ReadAll(site.OnlySegment()).substr(0, kSegmentHeaderBytes + two.size() + 20));
    check(2);
  }
  SECTION("and segments that follow it are found") {
    {
      REQUIRE_VALUE(auto log, site.Open());
      for (uint64_t i = 5; i < 30; ++i) REQUIRE_OK(log->Append(Leaf(i)));
    }
    check(30);
    site.KeepSegmentsOnly("log");
    check(30);
  }
  SECTION("but one that holds nothing where entries are missing is noticed") {
    site.KeepSegmentsOnly("log");
    fs::rename(SegmentPath(site.folder / "log", 2), SegmentPath(site.folder / "log", 7));
    WriteAll(SegmentPath(site.folder / "log", 7), SegmentHeader(7));
    REQUIRE_REASON(site.Open(), StatusCode::kDataLoss, "LOG_CORRUPT");
    REQUIRE_VALUE(FolderReport report, VerifyFolder(site.folder / "log", site.Verifier()));
    CHECK_FALSE(report.ok());
  }
}

TEST_CASE("log: killed at any moment, it holds every entry it has acknowledged") {
  Site site;
  site.segment_bytes = 4'000;
  uint64_t acknowledged = 0;
  for (int round = 0; round < 8; ++round) {
    int channel[2];
    REQUIRE(pipe(channel) == 0);
    const pid_t child = fork();
    if (child == 0) {
      close(channel[0]);
      auto log = site.Open();
      if (!log.ok()) _exit(1);
      while (true) {
        auto index = (*log)->Append(Leaf((*log)->size()));
        if (!index.ok()) _exit(2);
        const uint64_t size = *index + 1;
        if (write(channel[1], &size, sizeof(size)) != sizeof(size)) _exit(3);
      }
    }
    close(channel[1]);
    uint64_t size = 0;
    // A different number of entries each round, then the kill lands where it lands.
    for (int i = 0; i < 15 + 7 * round; ++i) {
      REQUIRE(read(channel[0], &size, sizeof(size)) == sizeof(size));
      acknowledged = size;
    }
    kill(child, SIGKILL);
    while (read(channel[0], &size, sizeof(size)) == sizeof(size)) acknowledged = size;
    close(channel[0]);
    int state = 0;
    waitpid(child, &state, 0);
    REQUIRE(WIFSIGNALED(state));
    REQUIRE_VALUE(auto log, site.Open());
    REQUIRE(log->size() >= acknowledged);
    REQUIRE(log->size() <= acknowledged + 1);
    REQUIRE_VALUE(Hash root, log->Root(log->size()));
    REQUIRE(root == RootOf(log->size()));
  }
}

TEST_CASE("verify: a folder that is no log is an error, a foreign file in it a finding") {
  Site site;
  REQUIRE_REASON(VerifyFolder(site.folder / "none", site.Verifier()), StatusCode::kNotFound,
                 "FILE_NOT_FOUND");
  {
    REQUIRE_VALUE(auto log, site.Open());
    REQUIRE_OK(log->Append(Leaf(0)));
    std::vector<std::string> seen;
    auto each = [&](uint64_t, absl::string_view leaf) { seen.emplace_back(leaf); };
    REQUIRE_VALUE(FolderReport live, VerifyFolder(site.folder / "log", site.Verifier(), {}, each));
    CHECK(live.ok());
    CHECK(live.size == 1);
    CHECK(seen == std::vector<std::string>{Leaf(0)});
  }
  WriteAll(site.folder / "log/records/notes.txt", "x");
  REQUIRE_VALUE(FolderReport report, VerifyFolder(site.folder / "log", site.Verifier()));
  CHECK_FALSE(report.ok());
  REQUIRE_REASON(site.Open(), StatusCode::kDataLoss, "LOG_CORRUPT");
}

}  // namespace
}  // namespace oncomesh::ledger
