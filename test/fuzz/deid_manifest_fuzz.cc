// link: oncomesh::deidentification_service
// SPDX-License-Identifier: Apache-2.0
#include <cstdint>
#include <cstdlib>
#include <nlohmann/json.hpp>
#include <string>

#include "services/deidentification/manifest.h"
#include "services/deidentification/profile.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace oncomesh::deidentification;  // NOLINT
  absl::string_view text(reinterpret_cast<const char*>(data), size);
  absl::StatusOr<ReadManifestResult> manifest = ReadManifest(text);
  absl::StatusOr<Profile> profile = ParseProfile(text);
  // What is read as a profile is written as one.
  if (profile.ok() && !ParseProfile(ProfileJson(*profile).dump()).ok()) std::abort();
  return 0;
}
