// SPDX-License-Identifier: Apache-2.0
// A DICOM data set that is written, never read: explicit VR little endian (PS3.5 §7.1, A.2).
//
// It is a writer of its own so that the bytes of a phantom depend on the seed alone and not on the
// version of a toolkit, and so that phantoms test the reading side with files it did not write.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <map>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"

namespace oncomesh::phantom {

// 0xggggeeee.
using Tag = uint32_t;

// Elements are kept in the order of their tags; setting one again replaces it. Values longer than
// their VR can carry are the caller's mistake. Value type.
class DataSet {
 public:
  // A value as its characters (AS CS DA DS DT IS LO LT PN SH ST TM UI UT …), padded to even length.
  // Several values are joined with a backslash by the caller. Empty gives an empty element.
  DataSet& Text(Tag tag, const char (&vr)[3], absl::string_view value);
  // Decimal strings of at most 16 characters, nine significant digits.
  DataSet& Decimals(Tag tag, const std::vector<double>& values);
  DataSet& Integer(Tag tag, int64_t value);    // IS
  DataSet& Uint16(Tag tag, uint16_t value);    // US
  DataSet& Int16(Tag tag, int16_t value);      // SS
  DataSet& Bytes(Tag tag, std::string value);  // OB
  // 16-bit words, which become the element's bytes in little endian (OW).
  DataSet& Words(Tag tag, const std::vector<uint16_t>& values);
  DataSet& Items(Tag tag, const std::vector<DataSet>& items);  // SQ, of defined length
  // A sequence of one coded entry (PS3.3 Table 8.8-1).
  DataSet& Code(Tag tag, absl::string_view value, absl::string_view scheme,
                absl::string_view meaning);

  // The elements one after the other.
  std::string Encode() const;
  // A Part 10 file: preamble, file meta information, this data set. SOP class and instance are
  // those of (0008,0016) and (0008,0018).
  std::string EncodeFile() const;

 private:
  struct Element {
    char vr[2];
    std::string bytes;  // even length
  };
  void Set(Tag tag, const char* vr, std::string bytes);
  std::map<Tag, Element> elements_;
};

}  // namespace oncomesh::phantom
