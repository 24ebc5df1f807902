// SPDX-License-Identifier: Apache-2.0
#include "libs/dicom/pixel_jpegls.h"

#include <charls/charls.h>

#include <memory>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"

namespace oncomesh::dicom {

bool DecodeJpegLsFrame(absl::string_view stream, int rows, int columns, size_t bytes_per_pixel,
                       uint8_t* out) {
  struct Destroy {
    void operator()(charls_jpegls_decoder* decoder) const {
      charls_jpegls_decoder_destroy(decoder);
    }
  };
  std::unique_ptr<charls_jpegls_decoder, Destroy> decoder(charls_jpegls_decoder_create());
  auto ok = [](charls_jpegls_errc error) { return error == charls::jpegls_errc::success; };
  // CharLS 2.4 looks for bits behind the end of a stream for seconds when it ends without a marker.
  const std::string ended = absl::StrCat(stream, "\xff\xd9");
  charls_frame_info info{};
  if (decoder == nullptr ||
      !ok(charls_jpegls_decoder_set_source_buffer(decoder.get(), ended.data(), ended.size())) ||
      !ok(charls_jpegls_decoder_read_header(decoder.get())) ||
      !ok(charls_jpegls_decoder_get_frame_info(decoder.get(), &info))) {
    return false;
  }
  const size_t coded_bytes = info.bits_per_sample <= 8 ? 1 : 2;
  if (info.height != static_cast<uint32_t>(rows) || info.width != static_cast<uint32_t>(columns) ||
      info.component_count != 1 || coded_bytes > bytes_per_pixel) {
    return false;
  }
  const size_t pixels = static_cast<size_t>(rows) * static_cast<size_t>(columns);
  // CharLS asks for exactly this much; were it more, the stream would not be what it says.
  size_t needed = 0;
  if (!ok(charls_jpegls_decoder_get_destination_size(decoder.get(), 0, &needed)) ||
      needed != pixels * coded_bytes) {
    return false;
  }
  if (!ok(charls_jpegls_decoder_decode_to_buffer(decoder.get(), out, needed, 0))) return false;
  // Samples of at most 8 bits in cells of 16: widened from the end, so that none is overwritten.
  for (size_t i = pixels; coded_bytes < bytes_per_pixel && i-- > 0;) {
    out[2 * i] = out[i];
    out[2 * i + 1] = 0;
  }
  return true;
}

std::vector<std::string> JpegFrames(const std::vector<absl::string_view>& fragments,
                                    size_t frames) {
  std::vector<std::string> out;
  const bool one_each = fragments.size() == frames;
  for (absl::string_view fragment : fragments) {
    const bool begins = absl::StartsWith(fragment, "\xff\xd8");
    if (one_each || (begins && (frames > 1 || out.empty()))) {
      out.emplace_back(fragment);
    } else if (!out.empty()) {
      out.back().append(fragment.data(), fragment.size());
    } else {
      return {};
    }
  }
  if (out.size() != frames) out.clear();
  return out;
}

}  // namespace oncomesh::dicom
