// SPDX-License-Identifier: Apache-2.0
// JPEG-LS (ISO/IEC 14495-1; PS3.5 A.4.3). Decoded here with CharLS 2 and not by DCMTK 3.6.7, whose
// copy of CharLS 1 ends the process by an assertion when a stream lies.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"

namespace oncomesh::dicom {

// Decodes one frame of one component into `out`, little endian, rows * columns * bytes_per_pixel
// (1 or 2) bytes. False when the stream is malformed, or its own size, components or depth are not
// those that the data set declares. Memory is bounded by `stream`, `out` and one line.
bool DecodeJpegLsFrame(absl::string_view stream, int rows, int columns, size_t bytes_per_pixel,
                       uint8_t* out);

// Joins the fragments of each frame, of JPEG-LS and of JPEG: one fragment is one frame when their
// numbers agree; else a frame begins where a fragment begins with the marker SOI, which cannot
// stand inside a frame. Empty when that does not give `frames` streams.
std::vector<std::string> JpegFrames(const std::vector<absl::string_view>& fragments, size_t frames);

}  // namespace oncomesh::dicom
