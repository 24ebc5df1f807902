// SPDX-License-Identifier: Apache-2.0
// Takes identified objects in at a node, one at a time: to the object store and the feed when they
// are clean, encrypted into quarantine with a reason when they cannot be. An original is never
// stored in the clear.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "libs/base/clock.h"
#include "libs/base/files.h"
#include "libs/base/mutex.h"
#include "libs/objects/object_store.h"
#include "services/deidentification/deidentifier.h"
#include "services/deidentification/release_store.h"
#include "services/deidentification/sealed_file.h"

namespace oncomesh::deidentification {

class IntakeRecord;

// The most bytes a clinical table that is streamed in may have.
inline constexpr size_t kMaxStreamedTableBytes = 64 << 20;

struct IntakeResult {
  enum class State { kReleased, kQuarantined };
  State state = State::kQuarantined;
  // Of a quarantine: see Outcome::reason and TABLE_… of clinical_table.h; DIGEST_WRONG when the
  // bytes are not those that were announced. Of a released table: ROWS_QUARANTINED when some of its
  // rows were not; the whole table is then in quarantine too.
  std::string reason;
  uint64_t bytes_read = 0;
  uint64_t bytes = 0;  // of the released object
  std::string sha256;  // its name in the object store
  DoneCounts done{};   // what was done to a DICOM object
  bool table = false;  // a clinical table, of which `rows` were released
  uint64_t rows = 0;
  bool repeated = false;  // it was there already, released or in quarantine
};

// An object that has come in whole and waits to be stored: a clean one whose file is written, or
// one that is in quarantine already and only has its result. Dropped without Intake::Store, a clean
// one leaves nothing behind.
class PreparedObject {
 public:
  PreparedObject() = default;
  PreparedObject(PreparedObject&& other) noexcept;
  PreparedObject& operator=(PreparedObject&& other) noexcept;
  ~PreparedObject();

 private:
  friend class Intake;
  std::string path_;  // of the clean bytes; empty: nothing to store
  std::string sha256_;
  ObjectKind kind_ = ObjectKind::kDicom;
  IntakeResult result_;
};

// Any thread may start objects; each object belongs to one thread.
class Intake {
 public:
  struct Deps {
    const Deidentifier& deidentifier;
    ReleaseStore& store;
    objects::ObjectStore& objects;
    base::Clock& clock;
    std::string work_dir;        // on the object store's file system, if possible
    std::string quarantine_dir;  // encrypted originals
    std::string manifest_dir;    // signed records of what was taken in
    std::string site;            // the node, for those records
  };

  // Makes the folders, removes what a crash left in work_dir, makes the manifests that it left
  // unfinished (IntakeRecord::Recover), and makes quarantine_dir and its list
  // agree: a row without an original goes, an original without a row is listed (UNLISTED, or
  // SEAL_… when it does not open).
  static absl::StatusOr<std::unique_ptr<Intake>> Create(Deps deps);

  // One object on its way in. Dropped before Finish, it leaves nothing behind.
  class Object {
   public:
    ~Object();
    // Errors: those of the disk; then the object is lost.
    absl::Status Append(absl::string_view bytes);
    // `sha256` (hexadecimal) is what the sender says the bytes have; empty: not checked. What goes
    // into quarantine is durable there when this returns OK; what is released becomes so with
    // Store. Errors: those of the disk; then the object is lost.
    absl::StatusOr<PreparedObject> Finish(absl::string_view sha256);

   private:
    friend class Intake;
    class Sink;
    Object(Intake& intake, ObjectKind kind);
    absl::Status Open(bool seal, bool pixels_checked);
    absl::StatusOr<PreparedObject> FinishTable();
    absl::StatusOr<PreparedObject> FinishDicom();
    absl::StatusOr<PreparedObject> Release(uint64_t bytes);
    // For its reason; tells there whether the same was in quarantine already.
    absl::Status Quarantine(IntakeResult& result);

    Intake& intake_;
    const ObjectKind kind_;
    std::unique_ptr<StreamDeidentifier> stream_;
    std::unique_ptr<Sink> sink_;
    std::optional<FileSealer> sealer_;
    std::string sealed_path_;
    std::string sha256_;   // from Finish on
    bool genuine_ = true;  // the bytes are those that were announced
    std::string table_;
    bool table_too_large_ = false;
    crypto::Sha256 digest_;
    uint64_t bytes_ = 0;
  };

  absl::StatusOr<std::unique_ptr<Object>> Start(ObjectKind kind);

  // For the objects of one sender.
  std::unique_ptr<IntakeRecord> NewRecord() const;

  // Stores prepared objects and adds them to the feed, in their order; made durable together, which
  // costs about as much as a single one. An answer for each; OK means durable. Any thread.
  std::vector<absl::StatusOr<IntakeResult>> Store(std::vector<PreparedObject> objects);

  // Tries a quarantined object again; `pixels_checked` as in StreamDeidentifier::Start. Removed
  // from quarantine when it is released, with a manifest of its own. One that is there as
  // DIGEST_WRONG stays. Errors: NOT_FOUND (QUARANTINE_NOT_FOUND), those of the
  // disk.
  absl::StatusOr<IntakeResult> Retry(const std::string& id, bool pixels_checked);

  // Errors: NOT_FOUND (QUARANTINE_NOT_FOUND).
  absl::Status Delete(const std::string& id);

 private:
  explicit Intake(Deps deps) : deps_(std::move(deps)) {}
  std::string SealedPath(const std::string& id) const;
  // What the same original has whenever it comes, for the same kind of reason.
  std::string QuarantineId(ObjectKind kind, absl::string_view sha256, bool genuine) const;
  absl::Status Reconcile();
  Deps deps_;
  base::Mutex quarantine_mutex_;  // the row and the file of an original change together
};

}  // namespace oncomesh::deidentification
