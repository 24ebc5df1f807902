// SPDX-License-Identifier: Apache-2.0
// Tags, value representations and the data dictionary. The dictionary is compiled from a vendored
// table (tools/codegen/data), so that reading a header needs no file and no lock.
#pragma once

#include <cstddef>
#include <cstdint>

#include "absl/strings/string_view.h"

namespace oncomesh::dicom {

// (gggg,eeee) as 0xggggeeee.
using Tag = uint32_t;

constexpr uint16_t Group(Tag tag) { return static_cast<uint16_t>(tag >> 16); }
constexpr uint16_t ElementOf(Tag tag) { return static_cast<uint16_t>(tag & 0xffff); }
constexpr bool IsPrivate(Tag tag) { return (tag & 0x00010000) != 0; }
// (gggg,0010-00FF) of an odd group: names the owner of a block of private elements.
constexpr bool IsPrivateCreator(Tag tag) {
  return IsPrivate(tag) && ElementOf(tag) >= 0x0010 && ElementOf(tag) <= 0x00ff;
}
constexpr bool IsGroupLength(Tag tag) { return ElementOf(tag) == 0; }

inline constexpr Tag kTransferSyntaxUid = 0x00020010;
inline constexpr Tag kSpecificCharacterSet = 0x00080005;
inline constexpr Tag kImageType = 0x00080008;
inline constexpr Tag kSopClassUid = 0x00080016;
inline constexpr Tag kSopInstanceUid = 0x00080018;
inline constexpr Tag kAccessionNumber = 0x00080050;
inline constexpr Tag kModality = 0x00080060;
inline constexpr Tag kPatientName = 0x00100010;
inline constexpr Tag kPatientId = 0x00100020;
inline constexpr Tag kIssuerOfPatientId = 0x00100021;
inline constexpr Tag kStudyInstanceUid = 0x0020000d;
inline constexpr Tag kSeriesInstanceUid = 0x0020000e;
inline constexpr Tag kFloatPixelData = 0x7fe00008;
inline constexpr Tag kDoubleFloatPixelData = 0x7fe00009;
inline constexpr Tag kPixelData = 0x7fe00010;
inline constexpr Tag kItem = 0xfffee000;
inline constexpr Tag kItemDelimiter = 0xfffee00d;
inline constexpr Tag kSequenceDelimiter = 0xfffee0dd;

constexpr bool IsPixelData(Tag tag) {
  return tag == kPixelData || tag == kFloatPixelData || tag == kDoubleFloatPixelData;
}

// A value representation: its two letters, the first in the high byte.
using Vr = uint16_t;
constexpr Vr Code(char first, char second) {
  return static_cast<Vr>((static_cast<unsigned char>(first) << 8) |
                         static_cast<unsigned char>(second));
}
inline constexpr Vr kAE = Code('A', 'E'), kAS = Code('A', 'S'), kAT = Code('A', 'T'),
                    kCS = Code('C', 'S'), kDA = Code('D', 'A'), kDS = Code('D', 'S'),
                    kDT = Code('D', 'T'), kIS = Code('I', 'S'), kLO = Code('L', 'O'),
                    kLT = Code('L', 'T'), kOB = Code('O', 'B'), kOW = Code('O', 'W'),
                    kPN = Code('P', 'N'), kSH = Code('S', 'H'), kSQ = Code('S', 'Q'),
                    kST = Code('S', 'T'), kTM = Code('T', 'M'), kUC = Code('U', 'C'),
                    kUI = Code('U', 'I'), kUL = Code('U', 'L'), kUN = Code('U', 'N'),
                    kUR = Code('U', 'R'), kUS = Code('U', 'S'), kUT = Code('U', 'T');

// Explicit encodings give these a 16-bit length (PS3.5 7.1.2); every other, also one we do not
// know, has two reserved bytes and a 32-bit length.
constexpr bool HasShortLength(Vr vr) {
  switch (vr) {
    case kAE:
    case kAS:
    case kAT:
    case kCS:
    case kDA:
    case kDS:
    case kDT:
    case Code('F', 'D'):
    case Code('F', 'L'):
    case kIS:
    case kLO:
    case kLT:
    case kPN:
    case kSH:
    case Code('S', 'L'):
    case Code('S', 'S'):
    case kST:
    case kTM:
    case kUI:
    case kUL:
    case kUS:
      return true;
    default:
      return false;
  }
}

// Bytes of one number of a binary VR (PS3.5 6.2); 0 for other VRs.
constexpr size_t NumberWidth(Vr vr) {
  switch (vr) {
    case kUS:
    case Code('S', 'S'):
      return 2;
    case kAT:
    case kUL:
    case Code('S', 'L'):
    case Code('F', 'L'):
      return 4;
    case Code('F', 'D'):
    case Code('S', 'V'):
    case Code('U', 'V'):
      return 8;
    default:
      return 0;
  }
}

// Values that are characters (PS3.5 6.2).
constexpr bool IsText(Vr vr) {
  switch (vr) {
    case kAE:
    case kAS:
    case kCS:
    case kDA:
    case kDS:
    case kDT:
    case kIS:
    case kLO:
    case kLT:
    case kPN:
    case kSH:
    case kST:
    case kTM:
    case kUC:
    case kUI:
    case kUR:
    case kUT:
      return true;
    default:
      return false;
  }
}

struct DictionaryEntry {
  Tag tag;
  Vr vr;
  // The largest number of values; 0: any.
  uint16_t most_values;
  // The UIDs in this attribute name classes, transfer syntaxes or vocabularies, never instances.
  bool names_class;
};

// The entry of a standard attribute, repeating groups 50xx, 60xx and 7Fxx included; nullptr when
// the dictionary does not have it, and for private tags. Any thread; lives for ever.
const DictionaryEntry* FindEntry(Tag tag);

// The VR with which an implicit encoding is read: of the dictionary, LO for private creators, UL
// for group lengths, UN otherwise.
Vr LookupVr(Tag tag);

// Every entry, for tests that ask whether each attribute has a decision.
struct DictionaryRange {
  const DictionaryEntry* begin_;
  const DictionaryEntry* end_;
  const DictionaryEntry* begin() const { return begin_; }
  const DictionaryEntry* end() const { return end_; }
};
DictionaryRange AllEntries();

}  // namespace oncomesh::dicom
