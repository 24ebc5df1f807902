// SPDX-License-Identifier: Apache-2.0
// De-identifies what lies in folders: DICOM files and clinical tables.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "services/deidentification/deidentifier.h"
#include "services/deidentification/manifest.h"

namespace oncomesh::deidentification {

struct FolderRunOptions {
  std::vector<std::string> inputs;  // files and folders
  std::string output_folder;
  std::string project;            // for the manifest
  std::string quarantine_folder;  // empty: quarantined originals stay only where they are
  bool with_manifest = false;     // fill FolderRunReport::manifest, which needs every hash
  bool overwrite = false;
  int jobs = 1;
  // Called now and then with the number of files and bytes done since the last call; one thread at
  // a time.
  std::function<void(uint64_t files, uint64_t bytes)> progress;
  // Asked between two files; true ends the run (CANCELLED).
  std::function<bool()> cancelled;
};

struct FolderRunReport {
  uint64_t objects_read = 0, released = 0, quarantined = 0, failed = 0;
  uint64_t bytes_read = 0, bytes_written = 0;
  // Clinical tables: files named clinical.csv. Tables with the same heading become one.
  uint64_t tables = 0, rows_read = 0, rows_released = 0;
  // Patients of the released objects and of the released rows, and those who are in both. Rows and
  // objects that name different issuers do not meet (Deidentifier::PatientOf).
  uint64_t patients = 0, table_patients = 0, patients_in_both = 0;
  // Inputs by their place in the byte order of all paths. A table's row has its line.
  struct Quarantined {
    uint64_t index;
    std::string reason;
    uint64_t line = 0;   // of a row; 0: the whole input
    std::string sealed;  // name in the quarantine folder
  };
  std::vector<Quarantined> quarantine;
  // Reasons of files that could not be read or written.
  struct Failed {
    uint64_t index;
    std::string reason;
  };
  std::vector<Failed> failures;
  Manifest manifest;
};

// Errors: NOT_FOUND (FILE_NOT_FOUND) for an input that is not there, INVALID_ARGUMENT
// (OUTPUT_IN_INPUT), ALREADY_EXISTS (OUTPUT_EXISTS) for another clinical.csv in the output, before
// any object is read; CANCELLED (INTERRUPTED), RESOURCE_EXHAUSTED (DISK_FULL), PERMISSION_DENIED
// for the output. Objects released before an error stay: each is whole.
absl::StatusOr<FolderRunReport> RunFolders(const Deidentifier& deidentifier,
                                           const FolderRunOptions& options);

// The inputs' files in byte order, each once. Errors as above.
absl::StatusOr<std::vector<std::string>> ListInputs(const std::vector<std::string>& inputs);

// True for a file that is taken as a clinical table.
bool IsClinicalTable(const std::string& path);

}  // namespace oncomesh::deidentification
