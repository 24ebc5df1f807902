// SPDX-License-Identifier: Apache-2.0
// Notes that other programs signed: the examples of C2SP signed-note, of Go's sumdb/note package,
// and a tree head of the public Go checksum database.
#include "libs/ledger/checkpoint.h"

#include <catch2/catch.hpp>
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "libs/crypto/encoding.h"
#include "libs/testing/status_matchers.h"

namespace oncomesh::ledger {
namespace {

using absl::StatusCode;
using crypto::KeyType;
using crypto::PrivateKey;

constexpr char kPeterText[] =
    "If you think cryptography is the answer to your problem,\n"
    "then you don't know what your problem is.\n";
constexpr char kPeterNote[] =
    "If you think cryptography is the answer to your problem,\n"
    "then you don't know what your problem is.\n\n"
    "— PeterNeumann "
    "x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM="
    "\n";
constexpr char kPeterKey[] = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW";

TEST_CASE("note: the examples of C2SP and of Go open with their keys") {
  REQUIRE_VALUE(
      NoteKey key,
      NoteKey::Parse("example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k"));
  REQUIRE_VALUE(OpenedNote note,
                OpenNote("This is an example message.\n\n— example.com/foo "
                         "Uw2QOkn8srV1yJGh2VYRlL1Tnagv1YEq6TfXppzi2ONncAlTgK7Ztg1ERYNZXsYjOBH3mFXmR"
                         "KuwHjG1Yu72IneyaQM=\n",
                         {key}));
  CHECK(note.text == "This is an example message.\n");
  REQUIRE(note.signatures.size() == 1);
  CHECK(note.signatures[0].name == "example.com/foo");

  REQUIRE_VALUE(NoteKey peter, NoteKey::Parse(kPeterKey));
  CHECK(peter.Print() == kPeterKey);
  REQUIRE_OK(OpenNote(kPeterNote, {peter}));
  REQUIRE_OK(OpenNote(kPeterNote, {key, peter}));
  REQUIRE_REASON(OpenNote(kPeterNote, {key}), StatusCode::kUnauthenticated, "NOTE_KEY_UNKNOWN");
}

TEST_CASE("note: signing gives the bytes that Go's package gives") {
  REQUIRE_VALUE(std::string material,
                crypto::Base64Decode("AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz"));
  REQUIRE_VALUE(PrivateKey key, PrivateKey::FromEd25519Seed(material.substr(1)));
  REQUIRE_VALUE(std::string note, SignNote(kPeterText, "PeterNeumann", key));
  CHECK(note == kPeterNote);
}

TEST_CASE("checkpoint: a tree head of sum.golang.org is genuine") {
  REQUIRE_VALUE(
      NoteKey key,
      NoteKey::Parse("sum.golang.org+033de0ae+Ac4zctda0e5eza+HJyk9SxEdh+s3Ux18htTTAD8OuAn8"));
  const std::string note =
      "go.sum database tree\n65209736\n5+uGFjx6xBZG8ip1+wi77v+grwbhhukIrxEUS8PXvRo=\n\n"
      "— sum.golang.org Az3grnbssgK7ubgFX36gVETtNv0U23qxyAhAMai2QUfeGa3nB/"
      "akvkMdlUErfcZz7l/R3cVtYspg3dxXABkGZZKdsQ8=\n";
  REQUIRE_VALUE(OpenedNote opened, OpenNote(note, {key}));
  REQUIRE_VALUE(Checkpoint checkpoint, ParseCheckpoint(opened.text));
  CHECK(checkpoint.origin == "go.sum database tree");
  CHECK(checkpoint.size == 65209736);
  CHECK(PrintCheckpoint(checkpoint) == opened.text);
  // Its origin is not its key's name, which our logs promise.
  REQUIRE_REASON(VerifyCheckpoint(note, key), StatusCode::kUnauthenticated, "CHECKPOINT_ORIGIN");
  REQUIRE_REASON(OpenNote(absl::StrReplaceAll(note, {{"65209736", "65209737"}}), {key}),
                 StatusCode::kUnauthenticated, "NOTE_SIGNATURE_INVALID");
}

TEST_CASE("note: malformed notes and keys are refused") {
  REQUIRE_VALUE(NoteKey peter, NoteKey::Parse(kPeterKey));
  const std::string good = kPeterNote;
  const std::string signature = good.substr(good.find("— "));
  for (const std::string& bad :
       {std::string(), std::string("\n"), std::string("text\n"), good.substr(0, good.size() - 1),
        absl::StrCat(kPeterText, signature), absl::StrCat(good, "\n"), absl::StrCat(good, "x\n"),
        absl::StrReplaceAll(good, {{"— ", "- "}}),
        absl::StrReplaceAll(good, {{"BwJnAM=", "BwJnAN="}}),
        absl::StrReplaceAll(good, {{"you", std::string("y\x01u", 3)}}),
        absl::StrReplaceAll(good, {{"you", "y\xc0\xafu"}}),
        absl::StrReplaceAll(good, {{"PeterNeumann", "Peter Neumann"}}),
        absl::StrReplaceAll(good, {{"PeterNeumann", "Peter\u2003Neumann"}}),
        std::string(kMaxNoteBytes + 1, 'a')}) {
    INFO(bad.substr(0, 200));
    REQUIRE_REASON(OpenNote(bad, {peter}), StatusCode::kInvalidArgument, "NOTE_MALFORMED");
  }
  const std::string key = kPeterKey;
  for (size_t at = 0; at < key.size(); ++at) {
    std::string bent = key;
    bent[at] = static_cast<char>(bent[at] + 1);
    INFO(bent);
    CHECK_FALSE(NoteKey::Parse(bent).ok());
    CHECK_FALSE(NoteKey::Parse(key.substr(0, at)).ok());
  }
  // A known key's broken line refuses the note even when another line is genuine.
  REQUIRE_REASON(
      OpenNote(absl::StrCat(good, absl::StrReplaceAll(signature, {{"x08go/Z", "x08go/A"}})),
               {peter}),
      StatusCode::kUnauthenticated, "NOTE_SIGNATURE_INVALID");
}

TEST_CASE("checkpoint: signed, cosigned and read again; malformed bodies are refused") {
  PrivateKey key = PrivateKey::Generate(KeyType::kEd25519);
  PrivateKey witness = PrivateKey::Generate(KeyType::kEd25519);
  const Checkpoint checkpoint{"oncomesh.example/audit/north", 20852163, LeafHash("x")};
  REQUIRE_VALUE(std::string note, SignCheckpoint(checkpoint, key));
  REQUIRE_VALUE(NoteKey log_key,
                NoteKey::Make(checkpoint.origin, NoteKeyType::kEd25519, key.Public()));
  REQUIRE_VALUE(Checkpoint again, VerifyCheckpoint(note, log_key));
  CHECK(again.size == checkpoint.size);
  CHECK(again.root == checkpoint.root);

  const absl::Time now = absl::FromUnixSeconds(1'800'000'000);
  REQUIRE_VALUE(std::string cosigned, Cosign(note, "hub.example/witness", witness, now));
  REQUIRE_VALUE(NoteKey witness_key,
                NoteKey::Make("hub.example/witness", NoteKeyType::kCosignature, witness.Public()));
  REQUIRE_VALUE(OpenedNote opened, OpenNote(cosigned, {log_key, witness_key}));
  REQUIRE(opened.signatures.size() == 2);
  CHECK(opened.signatures[1].time == now);
  REQUIRE_OK(VerifyCheckpoint(cosigned, log_key));
  // The same key as a plain signer has another id: the kinds cannot be mistaken for each other.
  REQUIRE_VALUE(NoteKey plain,
                NoteKey::Make("hub.example/witness", NoteKeyType::kEd25519, witness.Public()));
  REQUIRE_REASON(OpenNote(cosigned, {plain}), StatusCode::kUnauthenticated, "NOTE_KEY_UNKNOWN");

  const std::string root = crypto::Base64(View(checkpoint.root));
  for (const std::string& bad :
       {std::string(""), absl::StrCat("o\n1\n", root), absl::StrCat("\n1\n", root, "\n"),
        absl::StrCat("o\n01\n", root, "\n"), absl::StrCat("o\n-1\n", root, "\n"),
        absl::StrCat("o\n+1\n", root, "\n"), absl::StrCat("o\n 1\n", root, "\n"),
        absl::StrCat("o\n18446744073709551616\n", root, "\n"), std::string("o\n1\nAAAA\n"),
        absl::StrCat("o\n1\n", root, "\n\n"), absl::StrCat("o\n1\n", root, "\n\next\n")}) {
    INFO(bad);
    REQUIRE_REASON(ParseCheckpoint(bad), StatusCode::kInvalidArgument, "CHECKPOINT_MALFORMED");
  }
  REQUIRE_OK(ParseCheckpoint(absl::StrCat("o\n18446744073709551615\n", root, "\nextension\n")));
}

}  // namespace
}  // namespace oncomesh::ledger
