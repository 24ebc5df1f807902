// SPDX-License-Identifier: Apache-2.0
// The record beside an image of how it came to be: X.nii.gz has X.json. It names inputs by digest,
// never by path or by a value of theirs, and lists the steps with all parameters, so that whoever
// has the inputs can repeat it. Format: doc/formats/image-sidecar.md.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "libs/imaging/grid.h"

namespace oncomesh::imaging {

class Sidecar {
 public:
  // An input and its digest, SHA-256 in hexadecimal: of the bytes of a file, or for a series
  // SeriesDigest. `history` is the sidecar of the input, or nothing.
  void AddInput(absl::string_view role, absl::string_view sha256, size_t objects = 1,
                nlohmann::ordered_json history = nullptr);
  // `parameters` is an object. Steps are in the order in which they were done.
  void AddStep(absl::string_view name, nlohmann::ordered_json parameters);

  // The document for an output with these bytes and this grid.
  std::string Document(absl::string_view output_bytes, const Grid& grid) const;

 private:
  nlohmann::ordered_json inputs_ = nlohmann::ordered_json::array();
  nlohmann::ordered_json steps_ = nlohmann::ordered_json::array();
};

// The digest of a set of files: SHA-256 over their digests in ascending order, each as 64
// hexadecimal digits and a line feed.
std::string SeriesDigest(std::vector<std::string> sha256);

// "X.json" for "X.nii" and "X.nii.gz".
std::string SidecarPath(absl::string_view image_path);

// The sidecar of the image at `image_path` whose bytes have this digest; null when there is none,
// or when it describes other bytes.
nlohmann::ordered_json ReadSidecar(absl::string_view image_path, absl::string_view image_sha256);

}  // namespace oncomesh::imaging
