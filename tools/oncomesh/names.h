// SPDX-License-Identifier: Apache-2.0
// Names that a shell can complete because a service knows them. An option or argument that takes
// one has the kind as its type's name; a list of them, by comma, has the kind and ",…".
#pragma once

#include <CLI/CLI.hpp>

#include "absl/strings/string_view.h"
#include "tools/oncomesh/session.h"

namespace oncomesh::cli {

inline constexpr char kNameOfDataset[] = "DATASET";
inline constexpr char kNamesOfDatasets[] = "DATASET,…";
inline constexpr char kNameOfNode[] = "NODE";
inline constexpr char kNamesOfNodes[] = "NODE,…";
inline constexpr char kNameOfPermit[] = "PERMIT";
inline constexpr char kNameOfProfile[] = "PROFILE";
inline constexpr char kNameOfQuarantined[] = "QUARANTINED";
inline constexpr char kNameOfRequest[] = "REQUEST";
inline constexpr char kNameOfRun[] = "RUN";
inline constexpr char kNameOfSite[] = "SITE";
inline constexpr char kNamesOfVariables[] = "VARIABLE,…";

// The kind of a type's name; empty when it is none of the above.
absl::string_view NameKind(absl::string_view type_name);

// `oncomesh __names KIND`: the names, one a line; what the completion scripts call. Not shown in
// the help.
void AddNamesCommand(CLI::App& app, Session& session);

}  // namespace oncomesh::cli
