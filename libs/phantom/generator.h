// SPDX-License-Identifier: Apache-2.0
// Whole phantom hospitals on disk: what `oncomesh synth` writes.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "libs/phantom/site.h"

namespace oncomesh::phantom {

struct Plan {
  uint64_t seed = 0;
  std::vector<std::string> sites;    // see IsSiteName; no name twice
  int patients = 0;                  // per site, 1 to 9999
  std::vector<Modality> modalities;  // at least one, none twice
};

struct SiteResult {
  std::string name;
  int patients = 0;
  uint64_t studies = 0;
  uint64_t files = 0;  // DICOM files and the clinical table
  uint64_t bytes = 0;
};

// Letters, digits, '-' and '_', beginning with a letter or digit, at most 24 characters: the name
// is a folder, and part of identifiers.
bool IsSiteName(absl::string_view name);

// Errors: INVALID_ARGUMENT (PLAN_INVALID).
absl::Status Check(const Plan& plan);

// Called after every file with its size; false stops the work.
using FileWritten = absl::FunctionRef<bool(uint64_t bytes)>;

// How many files WriteSite will write for one site, and so how often it reports.
uint64_t CountFiles(const Plan& plan, absl::string_view site);

// Writes one site below `folder`, which must not exist or be empty:
//
//   <patient id>/CT/image/000000.dcm …   CT/mask/RS.dcm    (MR_T1, PET alike)
//   clinical.csv
//
// The bytes depend on the seed, the site's name and the patient's number; another site, a further
// patient or modality changes none of them. Errors: PLAN_INVALID as above, CANCELLED (INTERRUPTED)
// when `written` said so, and what the disk says. Blocking; any thread.
absl::StatusOr<SiteResult> WriteSite(const Plan& plan, absl::string_view site,
                                     const std::string& folder, FileWritten written);

// What was written and with which site effects, as a JSON document: the truth that harmonisation
// may be measured against.
std::string Describe(const Plan& plan, const std::vector<SiteResult>& results);

}  // namespace oncomesh::phantom
