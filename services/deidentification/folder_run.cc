// SPDX-License-Identifier: Apache-2.0
#include "services/deidentification/folder_run.h"

#include <algorithm>
#include <atomic>
#include <filesystem>
#include <set>
#include <system_error>
#include <thread>
#include <tuple>
#include <unordered_set>

#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "libs/base/error.h"
#include "libs/base/files.h"
#include "libs/base/mutex.h"
#include "libs/base/status_macros.h"
#include "services/deidentification/clinical_table.h"
#include "services/deidentification/file_deidentifier.h"
#include "services/deidentification/sealed_file.h"

namespace oncomesh::deidentification {
namespace {

namespace fs = std::filesystem;

// Seals an original under a name that depends on its bytes and the key, so that a second run finds
// it there already.
absl::StatusOr<std::string> Seal(const std::string& source, const std::string& folder,
                                 const Keys& keys) {
  std::string key = keys.QuarantineKey();
  ASSIGN_OR_RETURN(std::string digest, FileSha256(source));
  std::string name = absl::StrCat(
      absl::BytesToHexString(crypto::HmacSha256(key).Compute(digest).substr(0, 16)), ".sealed");
  std::string target = absl::StrCat(folder, "/", name);
  std::error_code error;
  if (!fs::exists(target, error)) RETURN_IF_ERROR(SealFile(source, target, key));
  return name;
}

// Whether the run cannot go on: every further file would fail alike.
bool IsFatal(const absl::Status& status) {
  return status.code() == absl::StatusCode::kResourceExhausted ||
         base::ReasonOf(status) == "OUTPUT_NOT_ALLOWED";
}

class Run {
 public:
  Run(const Deidentifier& deidentifier, const FolderRunOptions& options,
      std::vector<std::string> files)
      : deidentifier_(deidentifier), options_(options), files_(std::move(files)) {
    report_.manifest = NewManifest(deidentifier, options.project);
  }

  absl::StatusOr<FolderRunReport> Execute() {
    // Tables first: what is wrong with their output is said before the objects' work.
    {
      base::MutexLock lock(mutex_);
      RETURN_IF_ERROR(Tables());
    }
    int jobs = std::clamp(options_.jobs, 1, 256);
    std::vector<std::thread> threads;
    for (int i = 1; i < jobs; ++i) threads.emplace_back([this] { Work(); });
    Work();
    for (std::thread& thread : threads) thread.join();
    base::MutexLock lock(mutex_);
    RETURN_IF_ERROR(fatal_);
    report_.patients = patients_.size();
    report_.table_patients = table_patients_.size();
    for (const std::string& code : table_patients_)
      report_.patients_in_both += patients_.count(code);
    std::sort(report_.quarantine.begin(), report_.quarantine.end(),
              [](const auto& a, const auto& b) {
                return std::tie(a.index, a.line) < std::tie(b.index, b.line);
              });
    std::sort(report_.failures.begin(), report_.failures.end(),
              [](const auto& a, const auto& b) { return a.index < b.index; });
    return std::move(report_);
  }

 private:
  void Work() {
    FileDeidentifier worker(
        deidentifier_, options_.output_folder,
        {.hash = options_.with_manifest, .overwrite = options_.overwrite, .written = &written_});
    while (!stop_) {
      if (options_.cancelled && options_.cancelled()) {
        base::MutexLock lock(mutex_);
        fatal_ = base::Error(absl::StatusCode::kCancelled, "INTERRUPTED",
                             "stopped before the end; every file that was written is whole");
        stop_ = true;
        return;
      }
      size_t index = next_++;
      if (index >= files_.size()) return;
      if (IsClinicalTable(files_[index])) continue;
      absl::StatusOr<FileOutcome> outcome = worker.Run(files_[index]);
      std::string sealed;
      absl::Status status = outcome.status();
      if (outcome.ok() && !outcome->outcome.released && !options_.quarantine_folder.empty()) {
        absl::StatusOr<std::string> name =
            Seal(files_[index], options_.quarantine_folder, deidentifier_.project_keys());
        status = name.status();
        if (name.ok()) sealed = *name;
      }
      Record(index, outcome, status, sealed);
    }
  }

  void Record(size_t index, const absl::StatusOr<FileOutcome>& outcome, const absl::Status& status,
              const std::string& sealed) {
    base::MutexLock lock(mutex_);
    ++report_.objects_read;
    if (!status.ok()) {
      ++report_.failed;
      report_.failures.push_back({index, base::ReasonOf(status)});
      if (IsFatal(status) && fatal_.ok()) {
        fatal_ = status;
        stop_ = true;
      }
      return;
    }
    const Outcome& object = outcome->outcome;
    report_.bytes_read += object.bytes_read;
    if (object.released) {
      ++report_.released;
      patients_.insert(object.patient_code);
      report_.bytes_written += object.bytes_written;
      if (options_.with_manifest) {
        report_.manifest.entries.push_back(
            {outcome->path, outcome->sha256, object.bytes_written, object.done, false, 0});
      }
    } else {
      Quarantine({index, object.reason, 0, sealed});
      ++report_.quarantined;
    }
    if (options_.progress) options_.progress(1, object.bytes_read);
  }

  void Quarantine(FolderRunReport::Quarantined entry) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    if (options_.with_manifest && entry.line == 0) {
      report_.manifest.quarantined.push_back({entry.index, entry.reason});
    }
    report_.quarantine.push_back(std::move(entry));
  }

  absl::Status Tables() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    std::string heading, rows;
    ManifestEntry entry;
    for (size_t index = 0; index < files_.size(); ++index) {
      if (!IsClinicalTable(files_[index])) continue;
      ++report_.tables;
      absl::StatusOr<std::string> content = base::ReadFile(files_[index], kMaxTableBytes);
      if (!content.ok() && content.status().code() != absl::StatusCode::kResourceExhausted) {
        ++report_.failed;
        report_.failures.push_back({index, base::ReasonOf(content.status())});
        continue;
      }
      absl::StatusOr<TableOutcome> table =
          content.ok() ? PseudonymiseTable(*content, deidentifier_)
                       : base::Error(absl::StatusCode::kInvalidArgument, "TABLE_TOO_LARGE", "");
      std::string reason;
      size_t end = 0;
      if (!table.ok()) {
        reason = base::ReasonOf(table.status());
      } else {
        end = table->csv.find('\n') + 1;
        // Files are told apart by their heading; the columns that stay may differ by their cells.
        if (!heading.empty() && table->csv.substr(0, end) != heading) {
          reason = "TABLE_HEADING_DIFFERS";
        }
      }
      if (!reason.empty()) {
        std::string sealed;
        if (!options_.quarantine_folder.empty()) {
          ASSIGN_OR_RETURN(sealed, Seal(files_[index], options_.quarantine_folder,
                                        deidentifier_.project_keys()));
        }
        if (table.ok()) report_.rows_read += table->rows;
        Quarantine({index, reason, 0, sealed});
        continue;
      }
      heading = table->csv.substr(0, end);
      rows.append(table->csv, end, std::string::npos);
      report_.rows_read += table->rows;
      report_.rows_released += table->released;
      table_patients_.merge(table->patients);
      for (const QuarantinedRow& row : table->quarantined) {
        Quarantine({index, row.reason, row.line, ""});
      }
      entry.rows += table->released;
      for (size_t i = 0; i < entry.done.size(); ++i) entry.done[i] += table->done[i];
    }
    if (heading.empty()) return absl::OkStatus();
    std::string csv = heading + rows;
    std::string path = absl::StrCat(options_.output_folder, "/clinical.csv");
    RETURN_IF_ERROR(base::MakeDirectories(options_.output_folder));
    absl::Status written = base::WriteFileAtomically(path, csv, 0644, options_.overwrite);
    if (base::ReasonOf(written) == "FILE_EXISTS") {
      absl::StatusOr<std::string> there = base::ReadFile(path, kMaxTableBytes * 2);
      if (!there.ok() || *there != csv) {
        return base::Error(absl::StatusCode::kAlreadyExists, "OUTPUT_EXISTS",
                           "the output folder has another clinical.csv; choose a new folder or "
                           "use --force");
      }
      written = absl::OkStatus();
    }
    RETURN_IF_ERROR(written);
    entry.path = "clinical.csv";
    entry.sha256 = crypto::Sha256Hex(csv);
    entry.bytes = csv.size();
    entry.table = true;
    if (options_.with_manifest) report_.manifest.entries.push_back(entry);
    return absl::OkStatus();
  }

  const Deidentifier& deidentifier_;
  const FolderRunOptions& options_;
  const std::vector<std::string> files_;
  WrittenPaths written_;
  std::atomic<size_t> next_{0};
  std::atomic<bool> stop_{false};
  base::Mutex mutex_;
  FolderRunReport report_ ABSL_GUARDED_BY(mutex_);
  // Codes.
  std::unordered_set<std::string> patients_ ABSL_GUARDED_BY(mutex_);
  std::set<std::string> table_patients_ ABSL_GUARDED_BY(mutex_);
  absl::Status fatal_ ABSL_GUARDED_BY(mutex_);
};

// `path` without links and dots, as far as it exists.
std::string Canonical(const std::string& path) {
  std::error_code error;
  std::string out = fs::weakly_canonical(path, error).string();
  return error ? path : out;
}

}  // namespace

bool IsClinicalTable(const std::string& path) {
  return absl::AsciiStrToLower(fs::path(path).filename().string()) == "clinical.csv";
}

absl::StatusOr<std::vector<std::string>> ListInputs(const std::vector<std::string>& inputs) {
  std::vector<std::string> out;
  for (const std::string& input : inputs) {
    ASSIGN_OR_RETURN(std::vector<std::string> files, base::ListFiles(input));
    out.insert(out.end(), files.begin(), files.end());
  }
  std::sort(out.begin(), out.end());
  out.erase(std::unique(out.begin(), out.end()), out.end());
  return out;
}

absl::StatusOr<FolderRunReport> RunFolders(const Deidentifier& deidentifier,
                                           const FolderRunOptions& options) {
  for (const std::string& folder : {options.output_folder, options.quarantine_folder}) {
    if (folder.empty()) continue;
    for (const std::string& input : options.inputs) {
      std::string inside = absl::StrCat(Canonical(folder), "/");
      if (inside.rfind(absl::StrCat(Canonical(input), "/"), 0) == 0) {
        return base::Error(absl::StatusCode::kInvalidArgument, "OUTPUT_IN_INPUT",
                           "the output and quarantine folders must not lie inside an input");
      }
    }
  }
  ASSIGN_OR_RETURN(std::vector<std::string> files, ListInputs(options.inputs));
  RETURN_IF_ERROR(base::MakeDirectories(options.output_folder));
  if (!options.quarantine_folder.empty()) {
    RETURN_IF_ERROR(base::MakeDirectories(options.quarantine_folder, 0700));
  }
  return Run(deidentifier, options, std::move(files)).Execute();
}

}  // namespace oncomesh::deidentification
