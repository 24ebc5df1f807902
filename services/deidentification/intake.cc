// SPDX-License-Identifier: Apache-2.0
#include "services/deidentification/intake.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <set>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "libs/base/error.h"
#include "libs/base/random.h"
#include "libs/base/status_macros.h"
#include "services/deidentification/clinical_table.h"
#include "services/deidentification/folders.h"
#include "services/deidentification/intake_record.h"

namespace oncomesh::deidentification {
namespace {

constexpr char kDigestWrong[] = "DIGEST_WRONG";

// A table is text; a DICOM object without a preamble, too, has zero bytes early on.
bool LooksLikeTable(absl::string_view part) {
  part = part.substr(0, 4096);
  return std::all_of(part.begin(), part.end(), [](unsigned char c) {
    return c >= 0x20 || c == '\t' || c == '\r' || c == '\n';
  });
}

}  // namespace

// Writes the clean object into a file of work_dir and hashes it on the way.
class Intake::Object::Sink final : public ObjectSink {
 public:
  explicit Sink(const std::string& work_dir)
      : path_(absl::StrCat(work_dir, "/", base::NewId("clean-"))) {}
  ~Sink() override {
    if (!path_.empty()) unlink(path_.c_str());
  }

  absl::Status Begin(const Outcome&) override { return Open(); }
  absl::Status Append(absl::string_view bytes) override {
    hash_.Update(bytes);
    return file_->Append(bytes);
  }

  absl::Status Open() {
    ASSIGN_OR_RETURN(base::AtomicFile file, base::AtomicFile::Create(path_, 0600));
    file_.emplace(std::move(file));
    return absl::OkStatus();
  }
  // The whole file under path(), and its digest.
  absl::StatusOr<std::string> Commit() {
    RETURN_IF_ERROR(file_->Commit(/*overwrite=*/true, /*sync=*/false));
    return hash_.FinishHex();
  }
  // The file is the caller's from now on.
  std::string TakePath() { return std::exchange(path_, std::string()); }

 private:
  std::string path_;
  std::optional<base::AtomicFile> file_;
  crypto::Sha256 hash_;
};

PreparedObject::PreparedObject(PreparedObject&& other) noexcept { *this = std::move(other); }

PreparedObject& PreparedObject::operator=(PreparedObject&& other) noexcept {
  std::swap(path_, other.path_);
  std::swap(sha256_, other.sha256_);
  std::swap(kind_, other.kind_);
  std::swap(result_, other.result_);
  return *this;
}

PreparedObject::~PreparedObject() {
  if (!path_.empty()) unlink(path_.c_str());
}

absl::StatusOr<std::unique_ptr<Intake>> Intake::Create(Deps deps) {
  RETURN_IF_ERROR(base::MakeDirectories(deps.work_dir, 0700));
  RETURN_IF_ERROR(base::MakeDirectories(deps.quarantine_dir, 0700));
  RETURN_IF_ERROR(base::MakeDirectories(deps.manifest_dir, 0700));
  ASSIGN_OR_RETURN(std::vector<std::string> left, base::ListFiles(deps.work_dir));
  for (const std::string& path : left) unlink(path.c_str());
  RETURN_IF_ERROR(IntakeRecord::Recover(deps.deidentifier, deps.manifest_dir));
  std::unique_ptr<Intake> intake(new Intake(std::move(deps)));
  RETURN_IF_ERROR(intake->Reconcile());
  return intake;
}

absl::Status Intake::Reconcile() {
  constexpr int kPage = 1000;
  std::set<std::string> listed;
  int64_t after = 0;
  for (;;) {
    ASSIGN_OR_RETURN(std::vector<QuarantineRow> rows, deps_.store.ListQuarantined(after, kPage));
    if (rows.empty()) break;
    after = rows.back().sequence;
    for (const QuarantineRow& row : rows) {
      if (access(SealedPath(row.id).c_str(), F_OK) == 0 || errno != ENOENT) {
        listed.insert(SealedPath(row.id));
      } else {
        RETURN_IF_ERROR(deps_.store.RemoveQuarantined(row.id));
      }
    }
  }
  ASSIGN_OR_RETURN(std::vector<std::string> files, base::ListFiles(deps_.quarantine_dir));
  for (const std::string& path : files) {
    absl::string_view name = absl::string_view(path).substr(path.rfind('/') + 1);
    if (!absl::ConsumeSuffix(&name, ".sealed") || listed.count(path) > 0) continue;
    // What it is shows in its first bytes; a file that does not open is listed all the same.
    bool dicom = true;
    int64_t bytes = 0;
    crypto::Sha256 digest;
    absl::Status opened = UnsealFile(path, deps_.deidentifier.project_keys().QuarantineKey(),
                                     [&](absl::string_view part) {
                                       if (bytes == 0) dicom = !LooksLikeTable(part);
                                       digest.Update(part);
                                       bytes += static_cast<int64_t>(part.size());
                                       return absl::OkStatus();
                                     });
    const ObjectKind kind = dicom ? ObjectKind::kDicom : ObjectKind::kClinicalTable;
    std::string reason = opened.ok() ? "UNLISTED" : base::ReasonOf(opened);
    // Its name tells whether these are bytes that a sender meant.
    if (opened.ok() && name == QuarantineId(kind, digest.FinishHex(), /*genuine=*/false)) {
      reason = kDigestWrong;
    }
    RETURN_IF_ERROR(
        deps_.store.AddQuarantined({0, std::string(name), kind, reason, bytes, deps_.clock.Now()}));
  }
  return absl::OkStatus();
}

std::string Intake::SealedPath(const std::string& id) const {
  return absl::StrCat(deps_.quarantine_dir, "/", id, ".sealed");
}

std::string Intake::QuarantineId(ObjectKind kind, absl::string_view sha256, bool genuine) const {
  // Keyed: whoever has an original cannot tell that it was here.
  const std::string mac =
      crypto::HmacSha256(deps_.deidentifier.project_keys().QuarantineKey())
          .Compute(absl::StrCat("oncomesh-quarantine-id/1\n", static_cast<int>(kind),
                                genuine ? " " : " not as announced ", sha256));
  return absl::StrCat("q-", absl::BytesToHexString(mac.substr(0, 16)));
}

std::unique_ptr<IntakeRecord> Intake::NewRecord() const {
  return std::make_unique<IntakeRecord>(deps_.deidentifier, deps_.site, deps_.manifest_dir);
}

absl::StatusOr<std::unique_ptr<Intake::Object>> Intake::Start(ObjectKind kind) {
  std::unique_ptr<Object> object(new Object(*this, kind));
  RETURN_IF_ERROR(object->Open(/*seal=*/true, /*pixels_checked=*/false));
  return object;
}

Intake::Object::Object(Intake& intake, ObjectKind kind) : intake_(intake), kind_(kind) {}

Intake::Object::~Object() {
  if (!sealed_path_.empty()) unlink(sealed_path_.c_str());
}

absl::Status Intake::Object::Open(bool seal, bool pixels_checked) {
  if (seal) {
    // Whether it is kept is known only at the end, and its name there.
    sealed_path_ = absl::StrCat(intake_.deps_.work_dir, "/", base::NewId("sealed-"));
    sealer_.emplace(sealed_path_, intake_.deps_.deidentifier.project_keys().QuarantineKey());
  }
  sink_ = std::make_unique<Sink>(intake_.deps_.work_dir);
  if (kind_ == ObjectKind::kDicom) {
    stream_ = std::make_unique<StreamDeidentifier>(intake_.deps_.deidentifier);
    stream_->Start(sink_.get(), pixels_checked);
  }
  return absl::OkStatus();
}

absl::Status Intake::Object::Append(absl::string_view bytes) {
  bytes_ += bytes.size();
  digest_.Update(bytes);
  if (sealer_) RETURN_IF_ERROR(sealer_->Append(bytes));
  if (kind_ == ObjectKind::kDicom) return stream_->Feed(bytes);
  if (table_.size() + bytes.size() > kMaxStreamedTableBytes) {
    table_too_large_ = true;
    table_.clear();
  }
  if (!table_too_large_) table_.append(bytes.data(), bytes.size());
  return absl::OkStatus();
}

absl::StatusOr<PreparedObject> Intake::Object::Release(uint64_t bytes) {
  PreparedObject out;
  ASSIGN_OR_RETURN(out.sha256_, sink_->Commit());
  out.path_ = sink_->TakePath();
  out.kind_ = kind_;
  out.result_.state = IntakeResult::State::kReleased;
  out.result_.bytes = bytes;
  out.result_.sha256 = out.sha256_;
  return out;
}

absl::Status Intake::Object::Quarantine(IntakeResult& result) {
  if (!sealer_) return absl::OkStatus();  // it is there already
  const std::string id = intake_.QuarantineId(kind_, sha256_, genuine_);
  const std::string target = intake_.SealedPath(id);
  auto is_there = [&] { return access(target.c_str(), F_OK) == 0; };
  bool there = is_there();
  if (!there) RETURN_IF_ERROR(sealer_->Commit());
  {
    base::MutexLock lock(intake_.quarantine_mutex_);
    if (there && !is_there()) {  // deleted meanwhile
      there = false;
      RETURN_IF_ERROR(sealer_->Commit());
    }
    // The row first: no original may lie in quarantine that no list shows. What a crash between the
    // two leaves is mended by Create.
    RETURN_IF_ERROR(intake_.deps_.store.AddQuarantined(
        {0, id, kind_, result.reason, static_cast<int64_t>(bytes_), intake_.deps_.clock.Now()}));
    if (!there && rename(sealed_path_.c_str(), target.c_str()) != 0) {
      absl::Status status = base::ErrnoStatus(errno, "keep the quarantined original");
      intake_.deps_.store.RemoveQuarantined(id).IgnoreError();
      return status;
    }
  }
  sealer_.reset();
  // Of a released table it is the release that may be repeated.
  if (result.state == IntakeResult::State::kQuarantined) result.repeated = there;
  if (there) return absl::OkStatus();
  sealed_path_.clear();
  return SyncFolder(intake_.deps_.quarantine_dir);
}

absl::StatusOr<PreparedObject> Intake::Object::FinishDicom() {
  ASSIGN_OR_RETURN(Outcome outcome, stream_->Finish());
  PreparedObject out;
  if (outcome.released) {
    ASSIGN_OR_RETURN(out, Release(outcome.bytes_written));
    out.result_.done = outcome.done;
    return out;
  }
  out.result_.reason = outcome.reason;
  RETURN_IF_ERROR(Quarantine(out.result_));
  return out;
}

absl::StatusOr<PreparedObject> Intake::Object::FinishTable() {
  absl::StatusOr<TableOutcome> table =
      table_too_large_ ? base::Error(absl::StatusCode::kInvalidArgument, "TABLE_TOO_LARGE",
                                     "a table has at most 64 MiB")
                       : PseudonymiseTable(table_, intake_.deps_.deidentifier);
  PreparedObject out;
  if (!table.ok() || table->released == 0) {
    out.result_.reason = table.ok() ? "TABLE_WITHOUT_ROWS" : base::ReasonOf(table.status());
    RETURN_IF_ERROR(Quarantine(out.result_));
    return out;
  }
  RETURN_IF_ERROR(sink_->Open());
  RETURN_IF_ERROR(sink_->Append(table->csv));
  ASSIGN_OR_RETURN(out, Release(table->csv.size()));
  out.result_.table = true;
  out.result_.rows = table->released;
  if (!table->quarantined.empty()) {
    out.result_.reason = "ROWS_QUARANTINED";
    RETURN_IF_ERROR(Quarantine(out.result_));
  }
  return out;
}

absl::StatusOr<PreparedObject> Intake::Object::Finish(absl::string_view sha256) {
  PreparedObject out;
  sha256_ = digest_.FinishHex();
  genuine_ = sha256.empty() || sha256_ == absl::AsciiStrToLower(sha256);
  if (!genuine_) {
    out.result_.reason = kDigestWrong;
    RETURN_IF_ERROR(Quarantine(out.result_));
  } else {
    ASSIGN_OR_RETURN(out, kind_ == ObjectKind::kDicom ? FinishDicom() : FinishTable());
  }
  out.result_.bytes_read = bytes_;
  return out;
}

std::vector<absl::StatusOr<IntakeResult>> Intake::Store(std::vector<PreparedObject> objects) {
  std::vector<absl::StatusOr<IntakeResult>> out;
  std::vector<objects::ObjectStore::FileToPut> files;
  std::vector<size_t> places;  // of the files among the objects
  for (PreparedObject& object : objects) {
    out.emplace_back(object.result_);
    if (object.path_.empty()) continue;
    files.push_back({object.path_, object.sha256_});
    places.push_back(out.size() - 1);
  }
  if (files.empty()) return out;
  // The objects first, then the rows: a crash between them leaves objects that nobody sees, and a
  // second sending mends it.
  std::vector<absl::StatusOr<std::string>> names = deps_.objects.PutFiles(files);
  std::vector<ReleaseStore::NewRelease> releases;
  std::vector<size_t> released;
  for (size_t i = 0; i < names.size(); ++i) {
    if (!names[i].ok()) {
      out[places[i]] = names[i].status();
      continue;
    }
    objects[places[i]].path_.clear();
    releases.push_back({*names[i], objects[places[i]].kind_});
    released.push_back(places[i]);
  }
  if (releases.empty()) return out;
  absl::StatusOr<std::vector<bool>> added = deps_.store.AddReleased(releases, deps_.clock.Now());
  for (size_t i = 0; i < released.size(); ++i) {
    absl::StatusOr<IntakeResult>& answer = out[released[i]];
    if (added.ok()) {
      answer->repeated = !(*added)[i];
    } else {
      answer = added.status();
    }
  }
  return out;
}

absl::StatusOr<IntakeResult> Intake::Retry(const std::string& id, bool pixels_checked) {
  ASSIGN_OR_RETURN(QuarantineRow row, deps_.store.FindQuarantined(id));
  if (row.reason == kDigestWrong) {
    // Bytes were lost or changed on the way here, perhaps in the pixels, where nothing shows it.
    IntakeResult damaged;
    damaged.reason = row.reason;
    damaged.bytes_read = static_cast<uint64_t>(row.bytes);
    return damaged;
  }
  Object object(*this, row.kind);
  RETURN_IF_ERROR(object.Open(/*seal=*/false, pixels_checked));
  RETURN_IF_ERROR(UnsealFile(SealedPath(id), deps_.deidentifier.project_keys().QuarantineKey(),
                             [&](absl::string_view part) { return object.Append(part); }));
  std::vector<PreparedObject> prepared(1);
  ASSIGN_OR_RETURN(prepared[0], object.Finish(""));
  ASSIGN_OR_RETURN(IntakeResult result, Store(std::move(prepared))[0]);
  if (result.state == IntakeResult::State::kReleased) {
    std::unique_ptr<IntakeRecord> record = NewRecord();
    record->Add(0, result);
    RETURN_IF_ERROR(record->Finish().status());
  }
  if (result.state == IntakeResult::State::kReleased && result.reason.empty()) {
    RETURN_IF_ERROR(Delete(id));
  } else {
    row.reason = result.reason;
    RETURN_IF_ERROR(deps_.store.AddQuarantined(row));
  }
  return result;
}

absl::Status Intake::Delete(const std::string& id) {
  base::MutexLock lock(quarantine_mutex_);
  ASSIGN_OR_RETURN(QuarantineRow row, deps_.store.FindQuarantined(id));
  // Row last: as long as it is there, the deletion can be repeated.
  if (unlink(SealedPath(row.id).c_str()) != 0 && errno != ENOENT) {
    return base::ErrnoStatus(errno, "delete the quarantined original");
  }
  return deps_.store.RemoveQuarantined(row.id);
}

}  // namespace oncomesh::deidentification
