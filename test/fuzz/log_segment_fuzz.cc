// link: oncomesh::ledger
// SPDX-License-Identifier: Apache-2.0
// Frames of a log's segment: what is read is what would be written.
#include <cstdint>
#include <cstdlib>
#include <string>

#include "libs/ledger/segment.h"

using namespace oncomesh::ledger;  // NOLINT

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const absl::string_view input(reinterpret_cast<const char*>(data), size);
  (void)ParseSegmentHeader(input);
  FrameReader reader(input, kSegmentHeaderBytes);
  std::string again;
  Frame frame;
  while (reader.Next(frame)) {
    if (frame.kind == Frame::Kind::kLeaf) {
      AppendLeafFrame(frame.payload, again);
    } else {
      AppendCommitFrame(frame.commit, again);
    }
  }
  if (input.substr(0, again.size()) != again) std::abort();
  if (reader.sound() != reader.rest().empty()) std::abort();
  (void)HoldsLaterCommit(reader.rest(), 0);
  return 0;
}
