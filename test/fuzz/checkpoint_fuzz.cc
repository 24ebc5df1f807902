// link: oncomesh::ledger
// SPDX-License-Identifier: Apache-2.0
// Signed notes and checkpoints. What parses prints to a text that parses to the same.
#include <cstdint>
#include <cstdlib>

#include "libs/ledger/checkpoint.h"

using namespace oncomesh::ledger;  // NOLINT

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const NoteKey key =
      *NoteKey::Parse("PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW");
  const absl::string_view input(reinterpret_cast<const char*>(data), size);
  (void)OpenNote(input, {key});
  absl::StatusOr<NoteKey> parsed_key = NoteKey::Parse(input);
  if (parsed_key.ok() && parsed_key->Print() != input) std::abort();
  absl::StatusOr<Checkpoint> checkpoint = ParseCheckpoint(input);
  if (!checkpoint.ok()) return 0;
  const std::string printed = PrintCheckpoint(*checkpoint);
  if (input.substr(0, printed.size()) != printed) std::abort();  // extensions may follow
  return 0;
}
