// SPDX-License-Identifier: Apache-2.0
#include "services/access/duo.h"

#include <algorithm>
#include <map>

#include "absl/strings/str_cat.h"
#include "libs/terminology/duo.h"

namespace oncomesh::access {
namespace {

using terminology::DuoCode;

// Purposes in the words of the permissions: a purpose term stands for the narrowest permission that
// covers it.
std::string PermissionFor(absl::string_view purpose) {
  static const auto* map = new std::map<std::string, std::string, std::less<>>{
      {"DUO:0000037", "DUO:0000006"}, {"DUO:0000038", "DUO:0000006"},
      {"DUO:0000039", "DUO:0000006"}, {"DUO:0000040", "DUO:0000007"},
      {"DUO:0000033", "DUO:0000011"}, {"DUO:0000032", "DUO:0000042"}};
  auto it = map->find(std::string(purpose));
  return it == map->end() ? std::string(purpose) : it->second;
}

std::string Named(absl::string_view code) {
  const DuoCode* known = terminology::FindDuoCode(code);
  return known == nullptr ? std::string(code) : absl::StrCat(known->name, " (", code, ")");
}

}  // namespace

const char* FitName(Fit fit) {
  switch (fit) {
    case Fit::kFits:
      return "FITS";
    case Fit::kConflicts:
      return "CONFLICTS";
    case Fit::kNeedsHuman:
      break;
  }
  return "NEEDS_HUMAN";
}

Advice Match(absl::string_view purpose, const std::vector<std::string>& dataset_codes) {
  if (!terminology::IsDuoCode(purpose)) {
    return {Fit::kNeedsHuman, absl::StrCat("the purpose ", purpose, " is no DUO code known here")};
  }
  if (dataset_codes.empty()) return {Fit::kNeedsHuman, "the dataset names no permitted use"};
  const std::string wanted = PermissionFor(purpose);
  const bool methods = purpose == "DUO:0000031";
  bool permitted = false;
  std::string human;
  for (const std::string& code : dataset_codes) {
    const DuoCode* known = terminology::FindDuoCode(code);
    if (known == nullptr) {
      return {Fit::kNeedsHuman,
              absl::StrCat("the dataset carries ", code, ", which is not known here")};
    }
    switch (known->kind) {
      case DuoCode::Kind::kPermission:
        if (code == "DUO:0000004") {
          permitted = true;
        } else if (code == "DUO:0000042") {
          permitted = true;
        } else if (code == "DUO:0000006") {
          permitted = permitted || wanted == "DUO:0000006" || wanted == "DUO:0000007" || methods;
        } else if (code == "DUO:0000007") {
          // Whose disease? The codes alone cannot say.
          if (wanted == "DUO:0000007") {
            permitted = true;
            human = "compare the disease of the purpose with the disease of the dataset";
          }
        } else if (code == wanted) {
          permitted = true;
        }
        break;
      case DuoCode::Kind::kRefusesMethods:
        if (methods) return {Fit::kConflicts, absl::StrCat("the dataset allows ", Named(code))};
        break;
      case DuoCode::Kind::kRefusesAncestry:
        if (wanted == "DUO:0000011")
          return {Fit::kConflicts, absl::StrCat("the dataset says ", Named(code))};
        break;
      case DuoCode::Kind::kRefusesCommercial:
        human = absl::StrCat("check the applicant's organisation and use: ", Named(code));
        break;
      case DuoCode::Kind::kDuty:
        human = absl::StrCat("check the evidence for: ", Named(code));
        break;
      case DuoCode::Kind::kPurpose:
        human = absl::StrCat(Named(code), " describes a purpose, not a permission");
        break;
    }
  }
  if (!permitted) {
    if (wanted == "DUO:0000036" || wanted == "DUO:0000034" || wanted == "DUO:0000035" || methods) {
      return {Fit::kNeedsHuman,
              absl::StrCat("no permission of the dataset covers ", Named(purpose), " by itself")};
    }
    return {Fit::kConflicts, absl::StrCat("no permission of the dataset covers ", Named(purpose))};
  }
  if (!human.empty()) return {Fit::kNeedsHuman, human};
  return {Fit::kFits, absl::StrCat("the dataset permits ", Named(purpose))};
}

}  // namespace oncomesh::access
