// SPDX-License-Identifier: Apache-2.0
#include "libs/ledger/segment.h"

#include <sys/stat.h>
#include <zlib.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <iterator>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "libs/base/files.h"
#include "libs/base/status_macros.h"
#include "libs/ledger/bytes.h"
#include "libs/ledger/file_io.h"

namespace oncomesh::ledger {
namespace {

constexpr char kSegmentMagic[] = "oncomesh-log/1\n";  // 16 bytes with its NUL
constexpr absl::string_view kLeafMagic = "LEAF", kCommitMagic = "CMIT";
constexpr size_t kCommitBytes = 8 + 8 + 32;

uint32_t Checksum(absl::string_view magic, absl::string_view payload) {
  std::string head(magic);
  AppendU32(static_cast<uint32_t>(payload.size()), head);
  uLong crc = crc32(0, reinterpret_cast<const Bytef*>(head.data()), static_cast<uInt>(head.size()));
  crc =
      crc32(crc, reinterpret_cast<const Bytef*>(payload.data()), static_cast<uInt>(payload.size()));
  return static_cast<uint32_t>(crc);
}

void AppendFrame(absl::string_view magic, absl::string_view payload, std::string& out) {
  absl::StrAppend(&out, magic);
  AppendU32(static_cast<uint32_t>(payload.size()), out);
  AppendU32(Checksum(magic, payload), out);
  absl::StrAppend(&out, payload);
}

bool ParseFrame(absl::string_view bytes, Frame& frame) {
  if (bytes.size() < kFrameHeaderBytes) return false;
  const absl::string_view magic = bytes.substr(0, 4);
  const uint32_t size = ReadU32(bytes.substr(4));
  const bool leaf = magic == kLeafMagic;
  if (!leaf && magic != kCommitMagic) return false;
  if (leaf ? size > kMaxLeafBytes : size != kCommitBytes) return false;
  if (bytes.size() - kFrameHeaderBytes < size) return false;
  frame.payload = bytes.substr(kFrameHeaderBytes, size);
  if (Checksum(magic, frame.payload) != ReadU32(bytes.substr(8))) return false;
  frame.kind = leaf ? Frame::Kind::kLeaf : Frame::Kind::kCommit;
  if (!leaf) {
    frame.commit.previous = ReadU64(frame.payload);
    frame.commit.size = ReadU64(frame.payload.substr(8));
    ToHash(frame.payload.substr(16), frame.commit.root);
  }
  return true;
}

}  // namespace

std::string SegmentHeader(uint64_t first) {
  std::string out(kSegmentMagic, 16);
  AppendU64(first, out);
  return out;
}

void AppendLeafFrame(absl::string_view leaf, std::string& out) {
  AppendFrame(kLeafMagic, leaf, out);
}

void AppendCommitFrame(const Commit& commit, std::string& out) {
  std::string payload;
  AppendU64(commit.previous, payload);
  AppendU64(commit.size, payload);
  absl::StrAppend(&payload, View(commit.root));
  AppendFrame(kCommitMagic, payload, out);
}

bool FrameReader::Next(Frame& frame) {
  if (bytes_.empty()) return false;
  if (!ParseFrame(bytes_, frame)) {
    sound_ = false;
    return false;
  }
  frame.offset = offset_;
  const size_t size = kFrameHeaderBytes + frame.payload.size();
  bytes_.remove_prefix(size);
  offset_ += size;
  return true;
}

bool HoldsLaterCommit(absl::string_view bytes, uint64_t size) {
  Frame frame;
  for (size_t at = bytes.find(kCommitMagic); at != absl::string_view::npos;
       at = bytes.find(kCommitMagic, at + 1)) {
    if (ParseFrame(bytes.substr(at), frame) && frame.commit.previous > size) return true;
  }
  return false;
}

absl::StatusOr<uint64_t> ParseSegmentHeader(absl::string_view bytes) {
  if (bytes.size() < kSegmentHeaderBytes ||
      bytes.substr(0, 16) != absl::string_view(kSegmentMagic, 16)) {
    return Corrupt("a file of the log does not begin as one");
  }
  return ReadU64(bytes.substr(16));
}

std::string SegmentPath(const std::string& folder, uint64_t first) {
  return absl::StrCat(folder, "/records/", absl::Hex(first, absl::kZeroPad16));
}

absl::StatusOr<std::vector<SegmentFile>> ListSegments(const std::string& folder) {
  ASSIGN_OR_RETURN(std::vector<std::string> files, base::ListFiles(folder + "/records"));
  std::vector<SegmentFile> out;
  for (std::string& path : files) {  // sorted by name, which is by number
    const std::string name = path.substr(path.rfind('/') + 1);
    SegmentFile segment;
    if (name.size() != 16 || !absl::SimpleHexAtoi(name, &segment.first)) {
      if (absl::EndsWith(name, ".tmp")) continue;  // left by a crash while one was being made
      return Corrupt("a file in the log's folder is none of its own");
    }
    segment.path = std::move(path);
    out.push_back(std::move(segment));
  }
  return out;
}

absl::StatusOr<size_t> LeaveOutGivenUp(std::vector<SegmentFile>& segments) {
  std::vector<SegmentFile> holding, begun;
  for (SegmentFile& segment : segments) {
    struct stat info{};
    if (stat(segment.path.c_str(), &info) != 0) {
      return base::ErrnoStatus(errno, "look at a file of the audit log");
    }
    if (info.st_size <= static_cast<int64_t>(kSegmentHeaderBytes)) {
      begun.push_back(std::move(segment));
    } else {
      begun.clear();
      holding.push_back(std::move(segment));
    }
  }
  const size_t count = holding.size();
  segments = std::move(holding);
  std::move(begun.begin(), begun.end(), std::back_inserter(segments));
  return count;
}

}  // namespace oncomesh::ledger
