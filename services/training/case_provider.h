// SPDX-License-Identifier: Apache-2.0
// The prepared cases of datasets at this node.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "oncomesh/training/v1/plan.pb.h"

namespace oncomesh::training {

// One study as a trainer sees it: a folder with {CT,PT,MR}.nii.gz on one grid, mask.nii.gz and
// case.json (doc/formats/trainer.md).
struct PreparedCase {
  std::string code;     // its name in the task, IsCaseCode, unique at the node
  std::string patient;  // code of the patient
  std::string folder;
};

// True for [A-Za-z0-9_-]{1,64}: it is also the name of a folder.
bool IsCaseCode(absl::string_view code);

class CaseProvider {
 public:
  virtual ~CaseProvider() = default;
  // The cases of `datasets`, by code, prepared as `inputs` asks. May take long; `go_on` is asked
  // now and then and ends it with ABORTED (STOPPED) when false. Prepared cases stay valid and
  // unchanged for as long as the service runs.
  // Errors: NOT_FOUND (DATASET_NOT_FOUND), FAILED_PRECONDITION (DATASET_WITHDRAWN,
  // CASES_NOT_PREPARED), UNAVAILABLE.
  virtual absl::StatusOr<std::vector<PreparedCase>> Prepare(
      const std::vector<std::string>& datasets, const v1::CaseInputs& inputs,
      absl::FunctionRef<bool()> go_on) = 0;
  // Ends a Prepare that waits for another service, and every later one. Any thread.
  virtual void Stop() {}
};

// Cases that somebody else has put into `<root>/<dataset>/<version>/<code>/`, with a case.json that
// names the patient. Any thread.
class FolderCaseProvider final : public CaseProvider {
 public:
  explicit FolderCaseProvider(std::string root) : root_(std::move(root)) {}
  absl::StatusOr<std::vector<PreparedCase>> Prepare(const std::vector<std::string>& datasets,
                                                    const v1::CaseInputs& inputs,
                                                    absl::FunctionRef<bool()> go_on) override;

 private:
  const std::string root_;
};

// One object of a frozen dataset.
struct DatasetObject {
  std::string patient;
  std::string study;
  std::string modality;  // DICOM's, of its series
  std::string sha256;    // name in the node's object store
};

// What is prepared together.
struct CaseObjects {
  std::string code;
  std::string patient;
  std::vector<std::string> objects;  // sorted: images of the modalities, structure sets, SEGs
};

// Each study that has every modality is a case; a patient without such a study is one case of all
// studies together, when these have every modality; other patients are none. Contours of the
// patient go along from any study. By code; the code is the patient's and 12 digits of the study's
// digest. Patients' codes are taken as they are: a case's code need not be one by IsCaseCode.
std::vector<CaseObjects> GroupCases(const std::vector<DatasetObject>& objects,
                                    const std::vector<std::string>& modalities);

// Leaves the held-out or the other cases, by patient: patients stand in the order of
// SHA-256("oncomesh-split/1" ‖ salt ‖ patient code); the first max(1, round(share · n)) are held
// out, but never all. Share 0: nothing is held out, and both choices give every case.
std::vector<PreparedCase> SplitCases(const std::vector<PreparedCase>& cases, double share,
                                     const std::string& salt, bool held_out);

// Distinct patients.
int PatientsIn(const std::vector<PreparedCase>& cases);

}  // namespace oncomesh::training
