// link: oncomesh::imaging
// SPDX-License-Identifier: Apache-2.0
// Normalisation models: what is accepted is written and read back alike.
#include <cstdint>
#include <cstdlib>
#include <nlohmann/json.hpp>

#include "libs/imaging/normalise.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace oncomesh::imaging;
  auto model =
      ParseNormalisationModel(absl::string_view(reinterpret_cast<const char*>(data), size));
  if (!model.ok()) return 0;
  auto again = ParseNormalisationModel(ToJson(*model).dump());
  if (!again.ok() || again->scale != model->scale || again->shift != model->shift) std::abort();
  return 0;
}
