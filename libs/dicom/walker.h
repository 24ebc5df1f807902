// SPDX-License-Identifier: Apache-2.0
// Reads the structure of a data set and nothing else: where each element starts, what it is called
// and where its value ends. No value is decoded, no element is copied, no memory is taken. Bytes
// come from strangers: every length is checked against what is there.
#pragma once

#include <cstddef>
#include <cstdint>

#include "absl/strings/string_view.h"
#include "libs/dicom/dictionary.h"
#include "libs/dicom/transfer_syntax.h"

namespace oncomesh::dicom {

inline constexpr uint32_t kUndefinedLength = 0xffffffff;
// Sequences nested deeper than this are refused; the standard's deepest information objects have
// fewer than ten levels.
inline constexpr int kMaxDepth = 32;

struct Element {
  Tag tag = 0;
  Vr vr = 0;            // as written; from the dictionary in an implicit encoding
  uint32_t length = 0;  // of the value, or kUndefinedLength
  size_t offset = 0;    // of the tag
  size_t value = 0;     // of the first byte of the value
  bool undefined() const { return length == kUndefinedLength; }
  size_t end() const { return value + length; }
};

enum class Step {
  kOk,
  kNeedMore,   // the bytes end too early
  kMalformed,  // no continuation of these bytes is a data set
  kTooDeep,
};

uint16_t Load16(absl::string_view bytes, size_t offset, bool big_endian);
uint32_t Load32(absl::string_view bytes, size_t offset, bool big_endian);

// Reads tag, VR and length at `offset`. The value need not be there. Item tags (FFFE,xxxx) are read
// without a VR in every encoding.
Step ReadElement(absl::string_view bytes, size_t offset, Encoding encoding, Element& out);

// Whether the value of `element`, which has undefined length, is a sequence of items rather than a
// sequence of fragments: SQ, UN (PS3.5 6.2.2, note 7), and everything in an implicit encoding.
bool IsItemSequence(const Element& element, Encoding encoding);

// The encoding of the items inside: UN of undefined length holds Implicit VR Little Endian.
Encoding EncodingInside(const Element& element, Encoding encoding);

// Sets `end` to the offset behind the value, delimiter included.
Step FindEnd(absl::string_view bytes, const Element& element, Encoding encoding, size_t& end,
             int depth = 0);

// Where the pixels are, or that there are none.
struct HeaderEnd {
  bool has_pixels = false;
  Element pixels;     // when has_pixels
  size_t offset = 0;  // of the pixel element, or the end of the data set
};

// Looks for the first top-level pixel data element (an icon's pixels inside a sequence do not
// count). Resumes at `resume`, which it moves to the last element that was not whole; start with
// the offset of the data set. `complete` says that no more bytes will come. A rest of zero bytes is
// padding. Tags at top level ascend strictly; a data set in which they do not is malformed, because
// nobody can say which of two equal elements a reader will believe.
Step FindPixels(absl::string_view bytes, Encoding encoding, bool complete, size_t& resume,
                Tag& last_tag, HeaderEnd& out);

// Hops over the fragments of encapsulated pixel data as they arrive (PS3.5 A.4).
class FragmentSkipper {
 public:
  explicit FragmentSkipper(Encoding encoding) : big_endian_(encoding.big_endian) {}
  // Takes the next bytes; returns how many of them belong to the pixel data. done() tells whether
  // the sequence delimiter was among them. `step` is kMalformed when it is not fragments.
  size_t Feed(absl::string_view bytes, Step& step);
  bool done() const { return done_; }
  // Bytes of the current fragment that are still to come: a caller that reads a file may skip them.
  uint64_t pending() const { return pending_; }
  void Skip(uint64_t bytes) { pending_ -= bytes; }

 private:
  bool big_endian_;
  bool done_ = false;
  uint64_t pending_ = 0;
  char header_[8];
  size_t have_ = 0;
};

}  // namespace oncomesh::dicom
