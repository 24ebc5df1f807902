// SPDX-License-Identifier: Apache-2.0
#include "services/deidentification/folder_watch.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>

#include "libs/base/error.h"
#include "libs/base/files.h"
#include "libs/base/log.h"
#include "libs/base/status_macros.h"
#include "services/deidentification/folder_run.h"
#include "services/deidentification/intake_record.h"

namespace oncomesh::deidentification {

absl::StatusOr<FolderWatch::Pass> FolderWatch::Look() {
  Pass pass;
  ASSIGN_OR_RETURN(std::vector<std::string> files, base::ListFiles(folder_));
  const std::unique_ptr<IntakeRecord> record = intake_.NewRecord();
  for (size_t index = 0; index < files.size(); ++index) {
    const std::string& path = files[index];
    struct stat state{};
    if (stat(path.c_str(), &state) != 0) continue;
    absl::Time changed = absl::TimeFromTimespec(state.st_mtim);
    if (clock_.Now() - changed < quiet_) continue;
    absl::StatusOr<IntakeResult> result = TakeIn(path);
    if (!result.ok()) {
      ++pass.failed;
      base::LogError("intake.file_failed", result.status());
      if (result.status().code() == absl::StatusCode::kResourceExhausted) break;
      continue;
    }
    record->Add(index, *result);
    ++(result->state == IntakeResult::State::kReleased ? pass.released : pass.quarantined);
    if (unlink(path.c_str()) != 0) {
      base::LogError("intake.file_kept", base::ErrnoStatus(errno, "remove a file taken in"));
    }
  }
  // What was taken in is safe; only its record is missing then.
  if (absl::Status kept = record->Finish().status(); !kept.ok()) {
    base::LogError("intake.manifest_failed", kept);
  }
  return pass;
}

absl::StatusOr<IntakeResult> FolderWatch::TakeIn(const std::string& path) {
  ASSIGN_OR_RETURN(
      std::unique_ptr<Intake::Object> object,
      intake_.Start(IsClinicalTable(path) ? ObjectKind::kClinicalTable : ObjectKind::kDicom));
  int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
  if (fd < 0) return base::ErrnoStatus(errno, "open a file to take in");
  std::string buffer(1 << 20, '\0');
  absl::Status status;
  while (status.ok()) {
    ssize_t got = read(fd, buffer.data(), buffer.size());
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) status = base::ErrnoStatus(errno, "read a file to take in");
    if (got <= 0) break;
    status = object->Append(absl::string_view(buffer.data(), static_cast<size_t>(got)));
  }
  close(fd);
  RETURN_IF_ERROR(status);
  std::vector<PreparedObject> prepared(1);
  ASSIGN_OR_RETURN(prepared[0], object->Finish(""));
  return std::move(intake_.Store(std::move(prepared))[0]);
}

}  // namespace oncomesh::deidentification
