// SPDX-License-Identifier: Apache-2.0
// RLE Lossless (PS3.5 Annex G). Decoded here and not by DCMTK 3.6.7, whose decoder reads beyond the
// fragment when the header of a frame points there.
#pragma once

#include <cstddef>
#include <cstdint>

#include "absl/strings/string_view.h"

namespace oncomesh::dicom {

// Decodes one frame of `pixels` samples of `bytes_per_pixel` (1, 2 or 4) from its fragment into
// `out`, little endian, `pixels * bytes_per_pixel` bytes. False when the fragment is malformed or
// does not fill the frame.
bool DecodeRleFrame(absl::string_view fragment, size_t pixels, size_t bytes_per_pixel,
                    uint8_t* out);

}  // namespace oncomesh::dicom
