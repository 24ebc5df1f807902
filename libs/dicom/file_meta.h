// SPDX-License-Identifier: Apache-2.0
// Preamble and file meta information (PS3.10 7.1), and what to do when they are missing.
#pragma once

#include <string>

#include "absl/strings/string_view.h"
#include "libs/dicom/transfer_syntax.h"
#include "libs/dicom/walker.h"

namespace oncomesh::dicom {

// Meta information longer than this, preamble included, is not believed: real ones have hundreds of
// bytes.
inline constexpr size_t kMaxMetaBytes = 64 << 10;

struct FileMeta {
  TransferSyntax syntax;
  std::string sop_class_uid;     // (0002,0002), or empty
  std::string sop_instance_uid;  // (0002,0003), or empty
  size_t data_set = 0;           // offset of the first element after the meta information
};

// Reads what stands before the data set. Files without preamble, without meta information or
// without a transfer syntax exist: the syntax is then found from the first element. kNeedMore until
// enough bytes are there, of which kMaxMetaBytes and a few are always enough; kMalformed when this
// is not DICOM.
Step ReadFileMeta(absl::string_view bytes, bool complete, FileMeta& out);

// A fresh preamble of zeros, "DICM" and the meta information: version, class, instance, transfer
// syntax and our implementation. Nothing of the source's is carried over.
std::string MakeFileMeta(absl::string_view sop_class_uid, absl::string_view sop_instance_uid,
                         absl::string_view transfer_syntax_uid);

// A value without its padding: spaces and NULs at the end, spaces at the start.
absl::string_view Trimmed(absl::string_view value);

}  // namespace oncomesh::dicom
