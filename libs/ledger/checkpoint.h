// SPDX-License-Identifier: Apache-2.0
// What a log publishes: its origin, size and root, signed. Text formats of C2SP: signed-note,
// tlog-checkpoint and tlog-cosignature (Ed25519 kinds), so that other people's witnesses and
// monitors read our logs. Pure functions, any thread.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "libs/crypto/keys.h"
#include "libs/ledger/hash.h"

namespace oncomesh::ledger {

inline constexpr size_t kMaxNoteBytes = 64 << 10;
inline constexpr size_t kMaxNoteSignatures = 64;

enum class NoteKeyType : uint8_t {
  kEd25519 = 0x01,      // signs the text
  kCosignature = 0x04,  // a witness: signs "cosignature/v1", the time and the text
};

// A public key under the name by which signature lines call it.
class NoteKey {
 public:
  // Errors: INVALID_ARGUMENT (NOTE_KEY_INVALID): an empty name, one with a space or '+', or a key
  // that is not Ed25519.
  static absl::StatusOr<NoteKey> Make(absl::string_view name, NoteKeyType type,
                                      const crypto::PublicKey& key);
  // A C2SP verifier key, "<name>+<8 hex digits>+<base64>"; the digits must be those of the key.
  static absl::StatusOr<NoteKey> Parse(absl::string_view vkey);
  std::string Print() const;

  const std::string& name() const { return name_; }
  NoteKeyType type() const { return type_; }
  const std::string& id() const { return id_; }  // 4 bytes
  const crypto::PublicKey& key() const { return key_; }

 private:
  NoteKey(std::string name, NoteKeyType type, std::string id, crypto::PublicKey key)
      : name_(std::move(name)), type_(type), id_(std::move(id)), key_(std::move(key)) {}
  std::string name_;
  NoteKeyType type_;
  std::string id_;
  crypto::PublicKey key_;
};

// A genuine signature of a note by a key that the reader knows.
struct NoteSignature {
  std::string name;
  NoteKeyType type;
  absl::Time time = absl::InfinitePast();  // of a cosignature
};

struct OpenedNote {
  std::string text;  // with its last newline
  std::vector<NoteSignature> signatures;
};

// `text` with a signature line of `key` under `name`. Errors: INVALID_ARGUMENT (NOTE_MALFORMED)
// when the text has no last newline or holds control characters, (NOTE_KEY_INVALID).
absl::StatusOr<std::string> SignNote(absl::string_view text, absl::string_view name,
                                     const crypto::PrivateKey& key);

// Lines by unknown keys are passed over; one by a known key that is not genuine refuses the note.
// Errors: INVALID_ARGUMENT (NOTE_MALFORMED); UNAUTHENTICATED (NOTE_SIGNATURE_INVALID);
// UNAUTHENTICATED (NOTE_KEY_UNKNOWN) when no line is by a known key.
absl::StatusOr<OpenedNote> OpenNote(absl::string_view note, const std::vector<NoteKey>& keys);

struct Checkpoint {
  std::string origin;
  uint64_t size = 0;
  Hash root{};
};

// The three lines of a checkpoint, unsigned.
std::string PrintCheckpoint(const Checkpoint& checkpoint);
// Takes extension lines and drops them. Errors: INVALID_ARGUMENT (CHECKPOINT_MALFORMED).
absl::StatusOr<Checkpoint> ParseCheckpoint(absl::string_view text);

// A checkpoint signed by its log; the key's name is the origin.
absl::StatusOr<std::string> SignCheckpoint(const Checkpoint& checkpoint,
                                           const crypto::PrivateKey& key);

// The checkpoint of a note that `log_key` has signed, for the origin that is the key's name.
// Errors: those of OpenNote and ParseCheckpoint; UNAUTHENTICATED (CHECKPOINT_ORIGIN) when the note
// is of another log.
absl::StatusOr<Checkpoint> VerifyCheckpoint(absl::string_view note, const NoteKey& log_key);

// The note with a cosignature of a witness appended. The caller has checked the checkpoint, and
// that it continues the last one it cosigned, and has stored that it does.
// Errors: INVALID_ARGUMENT (NOTE_MALFORMED, CHECKPOINT_MALFORMED, NOTE_KEY_INVALID).
absl::StatusOr<std::string> Cosign(absl::string_view note, absl::string_view witness,
                                   const crypto::PrivateKey& key, absl::Time now);

}  // namespace oncomesh::ledger
