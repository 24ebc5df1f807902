// SPDX-License-Identifier: Apache-2.0
#include "libs/ledger/checkpoint.h"

#include <utility>

#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "libs/base/error.h"
#include "libs/base/status_macros.h"
#include "libs/crypto/digest.h"
#include "libs/crypto/encoding.h"

namespace oncomesh::ledger {
namespace {

constexpr char kDash[] = "\xe2\x80\x94 ";  // U+2014 and a space begin a signature line
constexpr size_t kEd25519Size = 64;

absl::Status Malformed(absl::string_view what) {
  return base::Error(absl::StatusCode::kInvalidArgument, "NOTE_MALFORMED",
                     absl::StrCat("the signed note is malformed: ", what));
}

absl::Status BadKey(absl::string_view what) {
  return base::Error(absl::StatusCode::kInvalidArgument, "NOTE_KEY_INVALID", what);
}

absl::Status BadCheckpoint(absl::string_view what) {
  return base::Error(absl::StatusCode::kInvalidArgument, "CHECKPOINT_MALFORMED",
                     absl::StrCat("the checkpoint is malformed: ", what));
}

// Reads one character of UTF-8 (RFC 3629) from the front; false when there is none.
bool TakeCharacter(absl::string_view& text, uint32_t& out) {
  auto byte = [&](size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned char first = byte(0);
  const size_t size = first < 0x80 ? 1 : first < 0xe0 ? 2 : first < 0xf0 ? 3 : 4;
  if ((first >= 0x80 && first < 0xc2) || first > 0xf4 || text.size() < size) return false;
  out = size == 1 ? first : first & (0x7fu >> size);
  for (size_t i = 1; i < size; ++i) {
    if ((byte(i) & 0xc0) != 0x80) return false;
    out = out << 6 | (byte(i) & 0x3fu);
  }
  if ((size == 3 && out < 0x800) || (size == 4 && (out < 0x10000 || out > 0x10ffff))) return false;
  if (out >= 0xd800 && out < 0xe000) return false;
  text.remove_prefix(size);
  return true;
}

bool IsSpace(uint32_t c) {  // Unicode White_Space
  return c == ' ' || (c >= 9 && c <= 13) || c == 0x85 || c == 0xa0 || c == 0x1680 ||
         (c >= 0x2000 && c <= 0x200a) || c == 0x2028 || c == 0x2029 || c == 0x202f || c == 0x205f ||
         c == 0x3000;
}

// UTF-8 without control characters but newline.
bool IsNoteText(absl::string_view text) {
  uint32_t c = 0;
  while (!text.empty()) {
    if (!TakeCharacter(text, c) || (c < 0x20 && c != '\n')) return false;
  }
  return true;
}

bool IsKeyName(absl::string_view name) {
  if (name.empty() || name.size() > 255) return false;
  uint32_t c = 0;
  while (!name.empty()) {
    if (!TakeCharacter(name, c) || IsSpace(c) || c < 0x20 || c == '+') return false;
  }
  return true;
}

struct Parts {
  absl::string_view text;
  std::vector<absl::string_view> lines;
};

// The last empty line stands between text and signatures.
absl::StatusOr<Parts> Split(absl::string_view note) {
  if (note.size() > kMaxNoteBytes) return Malformed("it is larger than 64 KiB");
  if (!IsNoteText(note)) return Malformed("it holds control characters or is not UTF-8");
  const size_t gap = note.rfind("\n\n");
  if (gap == absl::string_view::npos) return Malformed("it has no signatures");
  Parts out{note.substr(0, gap + 1), {}};
  absl::string_view rest = note.substr(gap + 2);
  if (rest.empty() || rest.back() != '\n') return Malformed("its last line does not end");
  rest.remove_suffix(1);
  out.lines = absl::StrSplit(rest, '\n');
  if (out.lines.size() > kMaxNoteSignatures) return Malformed("it has too many signatures");
  return out;
}

std::string CosignedMessage(absl::string_view text, uint64_t seconds) {
  return absl::StrCat("cosignature/v1\ntime ", seconds, "\n", text);
}

std::string SignatureLine(const NoteKey& key, absl::string_view signature) {
  return absl::StrCat(kDash, key.name(), " ", crypto::Base64(absl::StrCat(key.id(), signature)),
                      "\n");
}

// The signature of one line by `key`. Errors: NOTE_SIGNATURE_INVALID.
absl::StatusOr<NoteSignature> VerifyLine(const NoteKey& key, absl::string_view text,
                                         absl::string_view signature) {
  NoteSignature out{key.name(), key.type(), absl::InfinitePast()};
  bool good = false;
  if (key.type() == NoteKeyType::kEd25519) {
    good = key.key().Verify(text, signature);
  } else if (signature.size() == 8 + kEd25519Size) {
    uint64_t seconds = 0;
    for (int i = 0; i < 8; ++i) seconds = seconds << 8 | static_cast<unsigned char>(signature[i]);
    good = seconds <= uint64_t{INT64_MAX} &&
           key.key().Verify(CosignedMessage(text, seconds), signature.substr(8));
    out.time = absl::FromUnixSeconds(static_cast<int64_t>(seconds));
  }
  if (!good) {
    return base::Error(absl::StatusCode::kUnauthenticated, "NOTE_SIGNATURE_INVALID",
                       absl::StrCat("the signature of ", key.name(), " is not genuine"));
  }
  return out;
}

}  // namespace

absl::StatusOr<NoteKey> NoteKey::Make(absl::string_view name, NoteKeyType type,
                                      const crypto::PublicKey& key) {
  if (!IsKeyName(name)) return BadKey("a key's name is not empty and holds no space and no '+'");
  if (key.type() != crypto::KeyType::kEd25519) return BadKey("notes are signed with Ed25519 keys");
  const std::string material = absl::StrCat(std::string(1, static_cast<char>(type)), key.Raw());
  std::string id = crypto::Sha256Bytes(absl::StrCat(name, "\n", material)).substr(0, 4);
  return NoteKey(std::string(name), type, std::move(id), key);
}

absl::StatusOr<NoteKey> NoteKey::Parse(absl::string_view vkey) {
  // The base64 may hold '+' too: only the first two separate.
  const std::vector<std::string> parts = absl::StrSplit(vkey, absl::MaxSplits('+', 2));
  if (parts.size() != 3) return BadKey("a verifier key has three parts, joined with '+'");
  absl::StatusOr<std::string> material = crypto::Base64Decode(parts[2]);
  if (!material.ok() || material->size() != 33) {
    return BadKey("the key is not base64 of a type and 32 bytes");
  }
  const char type = (*material)[0];
  if (type != static_cast<char>(NoteKeyType::kEd25519) &&
      type != static_cast<char>(NoteKeyType::kCosignature)) {
    return BadKey("the key is of another type than Ed25519 and its cosignatures");
  }
  ASSIGN_OR_RETURN(crypto::PublicKey key, crypto::PublicKey::FromEd25519(material->substr(1)));
  ASSIGN_OR_RETURN(NoteKey out, Make(parts[0], static_cast<NoteKeyType>(type), key));
  if (absl::BytesToHexString(out.id()) != parts[1]) return BadKey("the key's id is not its own");
  return out;
}

std::string NoteKey::Print() const {
  return absl::StrCat(
      name_, "+", absl::BytesToHexString(id_), "+",
      crypto::Base64(absl::StrCat(std::string(1, static_cast<char>(type_)), key_.Raw())));
}

absl::StatusOr<std::string> SignNote(absl::string_view text, absl::string_view name,
                                     const crypto::PrivateKey& key) {
  if (text.empty() || text.back() != '\n' || !IsNoteText(text) || text.size() > kMaxNoteBytes / 2) {
    return Malformed("its text must be short UTF-8 that ends with a newline");
  }
  ASSIGN_OR_RETURN(NoteKey signer, NoteKey::Make(name, NoteKeyType::kEd25519, key.Public()));
  return absl::StrCat(text, "\n", SignatureLine(signer, key.Sign(text)));
}

absl::StatusOr<OpenedNote> OpenNote(absl::string_view note, const std::vector<NoteKey>& keys) {
  ASSIGN_OR_RETURN(Parts parts, Split(note));
  OpenedNote out{std::string(parts.text), {}};
  for (absl::string_view line : parts.lines) {
    if (!absl::StartsWith(line, kDash)) return Malformed("a line is no signature");
    line.remove_prefix(sizeof(kDash) - 1);
    const std::vector<absl::string_view> words = absl::StrSplit(line, ' ');
    if (words.size() != 2 || !IsKeyName(words[0])) return Malformed("a line is no signature");
    absl::StatusOr<std::string> bytes = crypto::Base64Decode(words[1]);
    if (!bytes.ok() || bytes->size() < 5) return Malformed("a signature is not base64");
    for (const NoteKey& key : keys) {
      if (key.name() != words[0] || key.id() != bytes->substr(0, 4)) continue;
      ASSIGN_OR_RETURN(NoteSignature signature,
                       VerifyLine(key, parts.text, absl::string_view(*bytes).substr(4)));
      out.signatures.push_back(std::move(signature));
      break;
    }
  }
  if (out.signatures.empty()) {
    return base::Error(absl::StatusCode::kUnauthenticated, "NOTE_KEY_UNKNOWN",
                       "no signature of the note is by a key that is known here");
  }
  return out;
}

std::string PrintCheckpoint(const Checkpoint& checkpoint) {
  return absl::StrCat(checkpoint.origin, "\n", checkpoint.size, "\n",
                      crypto::Base64(View(checkpoint.root)), "\n");
}

absl::StatusOr<Checkpoint> ParseCheckpoint(absl::string_view text) {
  const std::vector<absl::string_view> lines = absl::StrSplit(text, '\n');
  // The text ends with a newline, after which StrSplit sees one more, empty line.
  if (lines.size() < 4 || !lines.back().empty()) return BadCheckpoint("it needs three lines");
  for (size_t i = 0; i + 1 < lines.size(); ++i) {
    if (lines[i].empty()) return BadCheckpoint("it holds an empty line");
  }
  Checkpoint out;
  out.origin = std::string(lines[0]);
  const bool digits = lines[1].find_first_not_of("0123456789") == absl::string_view::npos;
  if (!digits || (lines[1].size() > 1 && lines[1][0] == '0') ||
      !absl::SimpleAtoi(lines[1], &out.size)) {
    return BadCheckpoint("its size is not a decimal number");
  }
  absl::StatusOr<std::string> root = crypto::Base64Decode(lines[2]);
  if (!root.ok() || !ToHash(*root, out.root)) return BadCheckpoint("its root is not 32 bytes");
  return out;
}

absl::StatusOr<std::string> SignCheckpoint(const Checkpoint& checkpoint,
                                           const crypto::PrivateKey& key) {
  return SignNote(PrintCheckpoint(checkpoint), checkpoint.origin, key);
}

absl::StatusOr<Checkpoint> VerifyCheckpoint(absl::string_view note, const NoteKey& log_key) {
  ASSIGN_OR_RETURN(OpenedNote opened, OpenNote(note, {log_key}));
  ASSIGN_OR_RETURN(Checkpoint out, ParseCheckpoint(opened.text));
  if (out.origin != log_key.name()) {
    return base::Error(absl::StatusCode::kUnauthenticated, "CHECKPOINT_ORIGIN",
                       "the checkpoint is of another log than its key");
  }
  return out;
}

absl::StatusOr<std::string> Cosign(absl::string_view note, absl::string_view witness,
                                   const crypto::PrivateKey& key, absl::Time now) {
  ASSIGN_OR_RETURN(Parts parts, Split(note));
  RETURN_IF_ERROR(ParseCheckpoint(parts.text).status());
  if (parts.lines.size() >= kMaxNoteSignatures) return Malformed("it has too many signatures");
  ASSIGN_OR_RETURN(NoteKey signer, NoteKey::Make(witness, NoteKeyType::kCosignature, key.Public()));
  const auto seconds = static_cast<uint64_t>(absl::ToUnixSeconds(now));
  std::string signature;
  for (int shift = 56; shift >= 0; shift -= 8) {
    signature.push_back(static_cast<char>(seconds >> shift));
  }
  signature += key.Sign(CosignedMessage(parts.text, seconds));
  return absl::StrCat(note, SignatureLine(signer, signature));
}

}  // namespace oncomesh::ledger
