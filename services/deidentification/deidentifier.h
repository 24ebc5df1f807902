// SPDX-License-Identifier: Apache-2.0
// De-identifies one DICOM object at a time, from bytes to bytes, with memory that depends on its
// header and not on its pixels. Pixels are passed on as they are; nothing decodes them.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "libs/dicom/file_meta.h"
#include "services/deidentification/keys.h"
#include "services/deidentification/object_rules.h"
#include "services/deidentification/profile.h"

namespace oncomesh::deidentification {

// A header (everything but the pixels) larger than this is quarantined.
inline constexpr size_t kMaxHeaderBytes = 64 << 20;
// The same for what follows the pixels.
inline constexpr size_t kMaxTailBytes = 16 << 20;

// What became of one object. Nothing in it tells whose object the source was.
struct Outcome {
  bool released = false;
  // Of a quarantined object: NOT_DICOM, DATASET_MALFORMED, DATASET_TRUNCATED, DATASET_TOO_DEEP,
  // VALUE_TOO_LONG, HEADER_TOO_LARGE, DEFLATE_INVALID, SOP_CLASS_MISSING, SOP_INSTANCE_MISSING,
  // STUDY_MISSING, PATIENT_ID_MISSING, MEDIA_DIRECTORY, ENCAPSULATED_DOCUMENT, BURNED_IN_TEXT,
  // POSSIBLE_BURNED_IN_TEXT, SPECIMEN_LABEL, OVERLAY_IN_PIXELS, AUDIO, SOP_CLASS_NOT_REVIEWED,
  // PIXELS_TOO_LONG, IDENTIFIERS_TOO_MANY; of files: FILE_EMPTY, DUPLICATE_INSTANCE.
  std::string reason;

  // Of a released object; all but the SOP class, which names a kind, are new values.
  std::string patient_code;
  std::string study_uid;
  std::string series_uid;
  std::string sop_instance_uid;
  std::string sop_class_uid;
  uint64_t bytes_read = 0;
  uint64_t bytes_written = 0;
  DoneCounts done{};
};

// Where an object's new bytes go.
class ObjectSink {
 public:
  virtual ~ObjectSink() = default;
  // Before the first byte: the identity of the object, in new values.
  virtual absl::Status Begin(const Outcome& identity) = 0;
  virtual absl::Status Append(absl::string_view bytes) = 0;
};

// A profile and a key, ready for use. Immutable; any thread.
class Deidentifier {
 public:
  Deidentifier(const Profile& profile, absl::string_view project_key);

  const Profile& profile() const { return profile_; }
  // The project's own keys: signature and quarantine.
  const Keys& project_keys() const { return project_keys_; }
  // What pseudonyms are made with; other than project_keys() when the profile throws its key away.
  const Keys& pseudonym_keys() const { return pseudonym_keys_; }
  const Decisions& decisions() const { return decisions_; }
  const Vocabulary& vocabulary() const { return vocabulary_; }
  // SHA-256 of the profile's JSON, in hexadecimal.
  const std::string& profile_digest() const { return profile_digest_; }

  // The patient of identifier and issuer as Keys::Patient has it; empty without an identifier. One
  // rule for objects and rows of tables: both trimmed, and no issuer is the profile's home issuer.
  std::string PatientOf(absl::string_view patient_id, absl::string_view issuer) const;

 private:
  Profile profile_;
  Keys project_keys_;
  Keys pseudonym_keys_;
  Decisions decisions_;
  Vocabulary vocabulary_;
  std::string profile_digest_;
};

// Takes an object in parts of any size and gives its sink the de-identified one. One thread; one
// object after another. Memory: the header and at most one part.
class StreamDeidentifier {
 public:
  explicit StreamDeidentifier(const Deidentifier& deidentifier);
  ~StreamDeidentifier();

  // Starts an object. `release_unchecked_pixels`: a person has looked at the pixels and found no
  // text; BURNED_IN_TEXT, POSSIBLE_BURNED_IN_TEXT and SPECIMEN_LABEL do not quarantine it.
  void Start(ObjectSink* sink, bool release_unchecked_pixels = false);

  // Errors: only those of the sink; then the object is lost. A quarantined object takes further
  // bytes and ignores them.
  absl::Status Feed(absl::string_view bytes);
  bool quarantined() const;

  // Number of bytes that come next and will be passed on unchanged, when a reader can move them
  // itself; 0 when it must Feed. Never more than the object's pixels have left.
  uint64_t Passthrough() const;
  // The caller has moved `bytes` ≤ Passthrough() from source to sink.
  void Skip(uint64_t bytes);

  // No more bytes. When the outcome is not `released`, what the sink got must be thrown away.
  absl::StatusOr<Outcome> Finish();

 private:
  class Object;
  const Deidentifier& deidentifier_;
  UidMemo uids_;
  std::string buffer_;  // kept between objects for its capacity
  std::string header_;
  std::unique_ptr<Object> object_;
};

}  // namespace oncomesh::deidentification
