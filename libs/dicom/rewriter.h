// SPDX-License-Identifier: Apache-2.0
// Copies a data set and leaves out, replaces or adds elements on the way, at every depth. Runs of
// kept elements are copied as they stand; only what contains a change is written anew, in the
// encoding of the source (defined lengths stay defined and are corrected, undefined ones keep their
// delimiters). Group lengths are dropped. Tags ascend strictly in every item that is descended
// into, as at top level: where they do not, nobody can say which of two equal elements a reader
// believes.
#pragma once

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "libs/dicom/walker.h"

namespace oncomesh::dicom {

// Decides about one element at a time. One thread.
class RewriteRules {
 public:
  enum class Action {
    kKeep,     // as it stands, with everything inside
    kDrop,     // leave out
    kReplace,  // same tag and VR, another value
    kDescend,  // a sequence: decide about each element of each item
  };
  struct Place {
    int depth = 0;              // 0 at top level
    Tag parent = 0;             // the sequence it is in; 0 at top level
    absl::string_view creator;  // owner of a private element, trimmed; empty: nobody's
    // What follows the element in its item or data set (and, in an item of undefined length, behind
    // its delimiter), for rules that depend on a later element of the same item.
    absl::string_view following;
    Encoding encoding;
  };

  virtual ~RewriteRules() = default;
  // Before the first element of each item that is descended into; its elements have this depth.
  virtual void BeginItem(int /*depth*/) {}
  // `value` is empty for a value of undefined length. For kReplace, `replacement` gets the new
  // value without padding. kDescend into a value that is no sequence of items drops the element.
  // Private creators are not asked about: one is kept exactly where an element of its block is.
  virtual Action Decide(const Element& element, absl::string_view value, const Place& place,
                        std::string& replacement) = 0;
};

// An element that the output has at top level, in place of the source's if it has one.
struct Insertion {
  Tag tag;
  Vr vr;
  std::string value;  // without padding; for SQ the encoded items
};

// Appends to `out` what the rules leave of bytes[begin, end), a data set without pixels whose tags
// ascend at top level (FindPixels).
// `insertions` ascend by tag.
// Errors: INVALID_ARGUMENT (DATASET_MALFORMED, DATASET_TOO_DEEP, VALUE_TOO_LONG); `out` is then
// of no use.
absl::Status RewriteDataSet(absl::string_view bytes, size_t begin, size_t end, Encoding encoding,
                            RewriteRules& rules, const std::vector<Insertion>& insertions,
                            std::string& out);

// Appends one element with a value of defined length, padded as its VR asks. False when the value
// does not fit the length field.
bool AppendElement(Tag tag, Vr vr, absl::string_view value, Encoding encoding, std::string& out);

// Appends an item of defined length around encoded elements.
void AppendItem(absl::string_view elements, Encoding encoding, std::string& out);

}  // namespace oncomesh::dicom
