// SPDX-License-Identifier: Apache-2.0
#include "services/deidentification/sealed_file.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "absl/strings/str_cat.h"
#include "libs/base/error.h"
#include "libs/base/random.h"
#include "libs/base/status_macros.h"
#include "libs/crypto/aead.h"
#include "libs/crypto/digest.h"

namespace oncomesh::deidentification {
namespace {

constexpr absl::string_view kMagic = "oncomesh-seal/1\n";
constexpr size_t kSaltBytes = 32;
constexpr size_t kFrameBytes = 1 << 20;
constexpr size_t kSealedFrameBytes = kFrameBytes + crypto::kGcmTagSize;

std::string FileKey(absl::string_view key, absl::string_view salt) {
  return crypto::HmacSha256(key).Compute(absl::StrCat(kMagic, salt));
}

std::string Nonce(uint64_t frame, bool last) {
  std::string out(crypto::kGcmNonceSize, '\0');
  out[0] = last ? 1 : 0;
  for (int i = 0; i < 8; ++i) {
    out[4 + static_cast<size_t>(i)] = static_cast<char>((frame >> (56 - 8 * i)) & 0xff);
  }
  return out;
}

class Reader {
 public:
  explicit Reader(const std::string& path) : fd_(open(path.c_str(), O_RDONLY | O_CLOEXEC)) {}
  ~Reader() {
    if (fd_ >= 0) close(fd_);
  }
  Reader(const Reader&) = delete;
  Reader& operator=(const Reader&) = delete;
  bool is_open() const { return fd_ >= 0; }

  // As many of the next `count` bytes as there are.
  absl::StatusOr<std::string> Read(size_t count) {
    std::string out(count, '\0');
    size_t have = 0;
    while (have < count) {
      ssize_t got = read(fd_, out.data() + have, count - have);
      if (got < 0 && errno == EINTR) continue;
      if (got < 0) return base::ErrnoStatus(errno, "read a file");
      if (got == 0) break;
      have += static_cast<size_t>(got);
    }
    out.resize(have);
    return out;
  }

 private:
  int fd_;
};

}  // namespace

FileSealer::FileSealer(std::string path, absl::string_view key)
    : path_(std::move(path)),
      salt_(base::SystemRandom::Get().Bytes(kSaltBytes)),
      key_(FileKey(key, salt_)) {}

absl::Status FileSealer::WriteFrame(bool last) {
  if (!file_) {
    ASSIGN_OR_RETURN(base::AtomicFile file, base::AtomicFile::Create(path_, 0600));
    file_.emplace(std::move(file));
    RETURN_IF_ERROR(file_->Append(absl::StrCat(kMagic, salt_)));
  }
  std::string sealed = crypto::AesGcmSeal(key_, Nonce(frames_++, last), kMagic, frame_);
  frame_.clear();
  return file_->Append(sealed);
}

absl::Status FileSealer::Append(absl::string_view bytes) {
  while (!bytes.empty()) {
    // A full frame is written when more follows, because the last one is marked.
    if (frame_.size() == kFrameBytes) RETURN_IF_ERROR(WriteFrame(/*last=*/false));
    size_t take = std::min(bytes.size(), kFrameBytes - frame_.size());
    frame_.append(bytes.data(), take);
    bytes.remove_prefix(take);
  }
  return absl::OkStatus();
}

absl::Status FileSealer::Commit() {
  RETURN_IF_ERROR(WriteFrame(/*last=*/true));
  return file_->Commit();
}

absl::Status SealFile(const std::string& source, const std::string& target, absl::string_view key) {
  Reader reader(source);
  if (!reader.is_open()) return base::ErrnoStatus(errno, "open a source file");
  FileSealer sealer(target, key);
  for (;;) {
    ASSIGN_OR_RETURN(std::string part, reader.Read(kFrameBytes));
    if (part.empty()) break;
    RETURN_IF_ERROR(sealer.Append(part));
  }
  return sealer.Commit();
}

absl::Status UnsealFile(const std::string& path, absl::string_view key,
                        absl::FunctionRef<absl::Status(absl::string_view)> take) {
  Reader reader(path);
  if (!reader.is_open()) return base::ErrnoStatus(errno, "open the sealed file");
  ASSIGN_OR_RETURN(std::string header, reader.Read(kMagic.size() + kSaltBytes));
  if (header.size() != kMagic.size() + kSaltBytes || header.substr(0, kMagic.size()) != kMagic) {
    return base::Error(absl::StatusCode::kInvalidArgument, "SEAL_INVALID",
                       "this is not a sealed file");
  }
  std::string file_key = FileKey(key, absl::string_view(header).substr(kMagic.size()));
  ASSIGN_OR_RETURN(std::string frame, reader.Read(kSealedFrameBytes));
  for (uint64_t number = 0;; ++number) {
    ASSIGN_OR_RETURN(std::string next, reader.Read(kSealedFrameBytes));
    bool last = next.empty();
    ASSIGN_OR_RETURN(std::string part,
                     crypto::AesGcmOpen(file_key, Nonce(number, last), kMagic, frame));
    if (!part.empty()) RETURN_IF_ERROR(take(part));
    if (last) return absl::OkStatus();
    frame = std::move(next);
  }
}

}  // namespace oncomesh::deidentification
