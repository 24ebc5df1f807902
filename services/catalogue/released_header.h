// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <map>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "libs/dicom/dictionary.h"
#include "libs/terminology/registry.h"

namespace oncomesh::catalogue {

// What the index keeps of a released object.
struct ReleasedHeader {
  std::string patient_code;  // (0010,0020), a pseudonym
  std::string study_uid;
  std::string series_uid;
  std::string sop_instance_uid;
  uint64_t bytes = 0;  // of the object
  // Values of the registry's variables, in their one spelling, by level and name. What is absent or
  // no value of its variable is not there.
  std::map<terminology::Level, std::map<std::string, std::string>> values;
};

// Reads the top-level elements in front of the pixel data of the file at `path`, deflated or not;
// nothing behind them is read or inflated, beyond the piece in which they end. Any thread.
// Errors: INVALID_ARGUMENT (OBJECT_UNREADABLE) for what is not a DICOM object with patient, study,
// series and instance; those of reading a file.
absl::StatusOr<ReleasedHeader> ReadReleasedHeader(const std::string& path,
                                                  const terminology::Registry& registry);

// Completed years of a DICOM age string ("057Y", "018M", "090D"); -1 when it is none.
int AgeInYears(absl::string_view age);

}  // namespace oncomesh::catalogue
