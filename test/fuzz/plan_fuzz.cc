// link: oncomesh::federated
// SPDX-License-Identifier: Apache-2.0
// Plans of training runs. What is accepted has a canonical form that is accepted too, with the same
// digest.
#include <cstdint>
#include <cstdlib>

#include "libs/federated/plan.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace oncomesh::federated;
  auto plan = ParsePlan(absl::string_view(reinterpret_cast<const char*>(data), size));
  if (!plan.ok()) return 0;
  auto again = ParsePlan(CanonicalPlan(*plan));
  if (!again.ok() || PlanDigest(*again) != PlanDigest(*plan)) std::abort();
  return 0;
}
