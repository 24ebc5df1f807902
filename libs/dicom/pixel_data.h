// SPDX-License-Identifier: Apache-2.0
// Stored pixel values of a loaded data set, as numbers. For the readers of this folder only: it is
// the one header here that shows DCMTK.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "libs/base/stop.h"

class DcmFileFormat;
class DcmItem;

namespace oncomesh::dicom {

// An image of more columns or rows is not one that is taken apart into voxels.
inline constexpr int kMaxMatrix = 8192;
inline constexpr int64_t kMaxFrames = 65536;
// Pixels of all frames of one object.
inline constexpr int64_t kMaxPixels = int64_t{1} << 30;

// Parses a whole object held in memory. Sequences nested deeper than kMaxDepth are refused before
// DCMTK, which recurses without a bound, sees them; so is what inflates to more than 1 GiB, and
// what has so many elements out of order that putting them in order would take long. DCMTK's own
// log is switched off: it quotes values. Any thread. Errors: INVALID_ARGUMENT (DICOM_UNREADABLE).
absl::StatusOr<std::unique_ptr<DcmFileFormat>> ParseObject(absl::string_view bytes);

// What describes the pixel cells (PS3.3 C.7.6.3).
struct PixelFormat {
  int rows = 0;
  int columns = 0;
  int64_t frames = 1;
  int bits_allocated = 0;
  int bits_stored = 0;
  int high_bit = 0;
  bool is_signed = false;
  int64_t frame_pixels() const { return int64_t{rows} * columns; }
};

// Reads and checks the format: one sample per pixel, MONOCHROME1 or MONOCHROME2.
// Errors: INVALID_ARGUMENT (PIXELS_MISSING, PIXELS_FORMAT), UNIMPLEMENTED (PIXELS_COLOUR).
absl::StatusOr<PixelFormat> ReadPixelFormat(DcmFileFormat& file);

// Decodes every frame; element i of the result holds frame i, rows * columns stored values with the
// column fastest. Native syntaxes, deflate, RLE, JPEG (baseline to lossless) and JPEG-LS; 1, 8, 16
// and 32 bits allocated, float and double pixel data. Bits outside `bits_stored` are cut off.
// Errors: INVALID_ARGUMENT (PIXELS_MISSING, PIXELS_FORMAT, PIXELS_TRUNCATED), DATA_LOSS
// (PIXELS_UNDECODABLE), UNIMPLEMENTED (TRANSFER_SYNTAX_UNSUPPORTED), ABORTED (STOPPED). `go_on` is
// asked for each frame that has to be decompressed.
absl::StatusOr<std::vector<std::vector<float>>> DecodeFrames(DcmFileFormat& file,
                                                             const PixelFormat& format,
                                                             const base::GoOn& go_on = nullptr);

}  // namespace oncomesh::dicom
