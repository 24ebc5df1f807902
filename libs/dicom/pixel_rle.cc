// SPDX-License-Identifier: Apache-2.0
#include "libs/dicom/pixel_rle.h"

#include <algorithm>

#include "libs/dicom/walker.h"

namespace oncomesh::dicom {
namespace {

constexpr size_t kHeader = 64;

// Unpacks one segment: every `stride`-th byte of `out`, `count` of them.
bool DecodeSegment(absl::string_view segment, size_t count, size_t stride, uint8_t* out) {
  size_t at = 0, done = 0;
  while (done < count) {
    if (at >= segment.size()) return false;
    const auto control = static_cast<int8_t>(segment[at++]);
    if (control >= 0) {  // control + 1 bytes as they are
      const size_t run = std::min<size_t>(static_cast<size_t>(control) + 1, count - done);
      if (run > segment.size() - at) return false;
      for (size_t i = 0; i < run; ++i) {
        out[stride * done++] = static_cast<uint8_t>(segment[at + i]);
      }
      at += run;
    } else if (control != -128) {  // the next byte 1 − control times
      if (at >= segment.size()) return false;
      const size_t run = std::min<size_t>(static_cast<size_t>(1 - control), count - done);
      for (size_t i = 0; i < run; ++i) out[stride * done++] = static_cast<uint8_t>(segment[at]);
      ++at;
    }
  }
  return true;
}

}  // namespace

bool DecodeRleFrame(absl::string_view fragment, size_t pixels, size_t bytes_per_pixel,
                    uint8_t* out) {
  if (fragment.size() < kHeader || Load32(fragment, 0, false) != bytes_per_pixel) return false;
  for (size_t i = 0; i < bytes_per_pixel; ++i) {
    const size_t begin = Load32(fragment, 4 + 4 * i, false);
    const size_t end =
        i + 1 < bytes_per_pixel ? Load32(fragment, 8 + 4 * i, false) : fragment.size();
    if (begin < kHeader || begin > end || end > fragment.size()) return false;
    // The first segment holds the most significant bytes.
    if (!DecodeSegment(fragment.substr(begin, end - begin), pixels, bytes_per_pixel,
                       out + (bytes_per_pixel - 1 - i))) {
      return false;
    }
  }
  return true;
}

}  // namespace oncomesh::dicom
