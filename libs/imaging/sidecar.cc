// SPDX-License-Identifier: Apache-2.0
#include "libs/imaging/sidecar.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "libs/base/files.h"
#include "libs/crypto/digest.h"

namespace oncomesh::imaging {
namespace {

using nlohmann::ordered_json;

constexpr char kFormat[] = "oncomesh-image-sidecar/1";
constexpr size_t kMaxSidecar = 4 << 20;

}  // namespace

void Sidecar::AddInput(absl::string_view role, absl::string_view sha256, size_t objects,
                       ordered_json history) {
  ordered_json input = {{"role", std::string(role)}, {"sha256", std::string(sha256)}};
  if (objects != 1) input["objects"] = objects;
  if (history.is_object()) {
    // What made the input, without a second copy of what is said above and of its grid.
    for (const char* part : {"program", "inputs", "steps"}) {
      if (history.contains(part)) input["history"][part] = history[part];
    }
  }
  inputs_.push_back(std::move(input));
}

void Sidecar::AddStep(absl::string_view name, ordered_json parameters) {
  if (parameters.is_null()) parameters = ordered_json::object();
  steps_.push_back({{"name", std::string(name)}, {"parameters", std::move(parameters)}});
}

std::string Sidecar::Document(absl::string_view output_bytes, const Grid& grid) const {
  ordered_json document = {{"format", kFormat},
                           {"program", {{"name", "oncomesh"}, {"version", ONCOMESH_VERSION}}},
                           {"output",
                            {{"sha256", crypto::Sha256Hex(output_bytes)},
                             {"size", grid.size},
                             {"spacingMm", grid.spacing},
                             {"originMm", grid.origin},
                             {"direction", grid.direction}}},
                           {"inputs", inputs_},
                           {"steps", steps_}};
  return document.dump(2) + "\n";
}

std::string SeriesDigest(std::vector<std::string> sha256) {
  std::sort(sha256.begin(), sha256.end());
  std::string lines;
  for (const std::string& digest : sha256) absl::StrAppend(&lines, digest, "\n");
  return crypto::Sha256Hex(lines);
}

std::string SidecarPath(absl::string_view image_path) {
  absl::ConsumeSuffix(&image_path, ".gz");
  absl::ConsumeSuffix(&image_path, ".nii");
  return absl::StrCat(image_path, ".json");
}

ordered_json ReadSidecar(absl::string_view image_path, absl::string_view image_sha256) {
  auto content = base::ReadFile(SidecarPath(image_path), kMaxSidecar);
  if (!content.ok()) return nullptr;
  auto document = ordered_json::parse(*content, nullptr, /*allow_exceptions=*/false);
  if (!document.is_object() || document.value("format", ordered_json()) != kFormat) return nullptr;
  auto output = document.find("output");
  if (output == document.end() || !output->is_object() ||
      output->value("sha256", ordered_json()) != std::string(image_sha256)) {
    return nullptr;
  }
  return document;
}

}  // namespace oncomesh::imaging
