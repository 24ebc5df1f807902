// SPDX-License-Identifier: Apache-2.0
#include "libs/dicom/transfer_syntax.h"

namespace oncomesh::dicom {

TransferSyntax TransferSyntaxOf(absl::string_view uid) {
  TransferSyntax out;
  out.uid = std::string(uid);
  // JPIP Referenced Deflate and the deflated syntax compress the whole data set.
  out.deflated = uid == kDeflatedExplicitLittleEndian || uid == "1.2.840.10008.1.2.4.95" ||
                 uid == "1.2.840.10008.1.2.4.205";
  if (uid == kImplicitLittleEndian) out.encoding.explicit_vr = false;
  // GE's private syntax is implicit with big-endian pixels, which are never looked at here.
  if (uid == "1.2.840.113619.5.2") out.encoding.explicit_vr = false;
  if (uid == kExplicitBigEndian) out.encoding.big_endian = true;
  return out;
}

}  // namespace oncomesh::dicom
