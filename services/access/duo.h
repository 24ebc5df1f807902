// SPDX-License-Identifier: Apache-2.0
// Whether a purpose fits the Data Use Ontology codes of a dataset. Advice for those who decide,
// never a decision: DUO says of itself that it is not validated as a compliance tool.
#pragma once

#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "libs/terminology/duo.h"

namespace oncomesh::access {

enum class Fit { kFits, kConflicts, kNeedsHuman };

struct Advice {
  Fit fit = Fit::kNeedsHuman;
  std::string reason;  // one sentence, names the codes
};

using terminology::IsDuoCode;

// Matches `purpose` (one code) with the dataset's permission and modifier codes. The rule goes up
// from the purpose (DUO README): data for health, medical or biomedical research (HMB) serve a
// disease purpose (DS), not the other way round. Codes that set a duty (ethics approval,
// moratorium, place, collaboration …), disease codes, which need the disease itself, and unknown
// codes need a human. An empty list of dataset codes needs a human.
Advice Match(absl::string_view purpose, const std::vector<std::string>& dataset_codes);

// "FITS", "CONFLICTS", "NEEDS_HUMAN".
const char* FitName(Fit fit);

}  // namespace oncomesh::access
