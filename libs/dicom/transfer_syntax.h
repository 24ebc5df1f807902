// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include "absl/strings/string_view.h"

namespace oncomesh::dicom {

// How a data set is written (PS3.5 Annex A).
struct Encoding {
  bool explicit_vr = true;
  bool big_endian = false;
};

struct TransferSyntax {
  std::string uid;
  Encoding encoding;
  bool deflated = false;
};

inline constexpr char kImplicitLittleEndian[] = "1.2.840.10008.1.2";
inline constexpr char kExplicitLittleEndian[] = "1.2.840.10008.1.2.1";
inline constexpr char kDeflatedExplicitLittleEndian[] = "1.2.840.10008.1.2.1.99";
inline constexpr char kExplicitBigEndian[] = "1.2.840.10008.1.2.2";

// Every transfer syntax but four is Explicit VR Little Endian around encapsulated pixels, also one
// of a vendor or of a later edition. `uid` without padding.
TransferSyntax TransferSyntaxOf(absl::string_view uid);

}  // namespace oncomesh::dicom
