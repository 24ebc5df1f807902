// SPDX-License-Identifier: Apache-2.0
// Raw deflate streams as deflated data sets have them (PS3.5 A.5: RFC 1951 without a zlib header).
#pragma once

#include <zlib.h>

#include <algorithm>
#include <string>

#include "absl/strings/string_view.h"

namespace oncomesh::deidentification {

// One stream, one thread. Memory does not depend on what the stream inflates to.
class Inflater {
 public:
  Inflater() { inflateInit2(&stream_, -MAX_WBITS); }
  ~Inflater() { inflateEnd(&stream_); }
  Inflater(const Inflater&) = delete;
  Inflater& operator=(const Inflater&) = delete;

  // Calls `take` with what `bytes` inflate to, until it returns false. False then, when the bytes
  // are no deflate stream, and when anything but padding with zero bytes follows its end.
  template <typename Take>
  bool Feed(absl::string_view bytes, Take take) {
    stream_.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(bytes.data()));
    stream_.avail_in = static_cast<uInt>(bytes.size());
    buffer_.resize(kChunk);
    while (!ended_ && (stream_.avail_in > 0 || stream_.avail_out == 0)) {
      stream_.next_out = reinterpret_cast<Bytef*>(buffer_.data());
      stream_.avail_out = static_cast<uInt>(buffer_.size());
      int result = inflate(&stream_, Z_NO_FLUSH);
      size_t made = buffer_.size() - stream_.avail_out;
      if (made > 0 && !take(absl::string_view(buffer_.data(), made))) return false;
      if (result == Z_STREAM_END) {
        ended_ = true;
      } else if (result == Z_BUF_ERROR && made == 0) {
        break;
      } else if (result != Z_OK && result != Z_BUF_ERROR) {
        return false;
      }
    }
    if (!ended_) return true;
    absl::string_view rest = bytes.substr(bytes.size() - stream_.avail_in);
    return std::all_of(rest.begin(), rest.end(), [](char c) { return c == '\0'; });
  }
  bool ended() const { return ended_; }

 private:
  static constexpr size_t kChunk = 256 << 10;
  z_stream stream_{};
  std::string buffer_;
  bool ended_ = false;
};

// One stream, one thread.
class Deflater {
 public:
  Deflater() {
    deflateInit2(&stream_, Z_DEFAULT_COMPRESSION, Z_DEFLATED, -MAX_WBITS, 8, Z_DEFAULT_STRATEGY);
  }
  ~Deflater() { deflateEnd(&stream_); }
  Deflater(const Deflater&) = delete;
  Deflater& operator=(const Deflater&) = delete;

  // Appends to `out` what is ready of the compressed stream.
  void Feed(absl::string_view bytes, bool last, std::string& out) {
    stream_.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(bytes.data()));
    stream_.avail_in = static_cast<uInt>(bytes.size());
    char chunk[16 << 10];
    do {
      stream_.next_out = reinterpret_cast<Bytef*>(chunk);
      stream_.avail_out = sizeof(chunk);
      deflate(&stream_, last ? Z_FINISH : Z_NO_FLUSH);
      out.append(chunk, sizeof(chunk) - stream_.avail_out);
    } while (stream_.avail_out == 0);
  }

 private:
  z_stream stream_{};
};

}  // namespace oncomesh::deidentification
