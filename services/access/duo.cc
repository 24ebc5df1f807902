// SPDX-License-Identifier: Apache-2.0
#include "services/access/duo.h"

#include <algorithm>
#include <map>

#include "absl/strings/str_cat.h"

namespace oncomesh::access {
namespace {

// Data Use Ontology, release line v2021-02-23; abstract and obsolete codes are left out.
struct Code {
  const char* name;
  enum Kind {
    kPermission,
    kDuty,
    kRefusesCommercial,
    kRefusesMethods,
    kRefusesAncestry,
    kPurpose
  } kind;
};

const std::map<std::string, Code, std::less<>>& Codes() {
  static const auto* codes = new std::map<std::string, Code, std::less<>>{
      {"DUO:0000004", {"no restriction", Code::kPermission}},
      {"DUO:0000042", {"general research use", Code::kPermission}},
      {"DUO:0000006", {"health or medical or biomedical research", Code::kPermission}},
      {"DUO:0000007", {"disease specific research", Code::kPermission}},
      {"DUO:0000011", {"population origins or ancestry research only", Code::kPermission}},
      {"DUO:0000012", {"research specific restrictions", Code::kDuty}},
      {"DUO:0000015", {"no general methods research", Code::kRefusesMethods}},
      {"DUO:0000016", {"genetic studies only", Code::kDuty}},
      {"DUO:0000018", {"not for profit, non commercial use only", Code::kRefusesCommercial}},
      {"DUO:0000019", {"publication required", Code::kDuty}},
      {"DUO:0000020", {"collaboration required", Code::kDuty}},
      {"DUO:0000021", {"ethics approval required", Code::kDuty}},
      {"DUO:0000022", {"geographical restriction", Code::kDuty}},
      {"DUO:0000024", {"publication moratorium", Code::kDuty}},
      {"DUO:0000025", {"time limit on use", Code::kDuty}},
      {"DUO:0000026", {"user specific restriction", Code::kDuty}},
      {"DUO:0000027", {"project specific restriction", Code::kDuty}},
      {"DUO:0000028", {"institution specific restriction", Code::kDuty}},
      {"DUO:0000029", {"return to database or resource", Code::kDuty}},
      {"DUO:0000031", {"method development", Code::kPurpose}},
      {"DUO:0000032", {"population research", Code::kPurpose}},
      {"DUO:0000033", {"ancestry research", Code::kPurpose}},
      {"DUO:0000034", {"age category research", Code::kPurpose}},
      {"DUO:0000035", {"gender category research", Code::kPurpose}},
      {"DUO:0000036", {"research control", Code::kPurpose}},
      {"DUO:0000037", {"biomedical research", Code::kPurpose}},
      {"DUO:0000038", {"genetic research", Code::kPurpose}},
      {"DUO:0000039", {"drug development research", Code::kPurpose}},
      {"DUO:0000040", {"disease category research", Code::kPurpose}},
      {"DUO:0000043", {"clinical care use", Code::kPermission}},
      {"DUO:0000044",
       {"population origins or ancestry research prohibited", Code::kRefusesAncestry}},
      {"DUO:0000045", {"not for profit organisation use only", Code::kRefusesCommercial}},
      {"DUO:0000046", {"non-commercial use only", Code::kRefusesCommercial}}};
  return *codes;
}

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
  auto it = Codes().find(std::string(code));
  return it == Codes().end() ? std::string(code) : absl::StrCat(it->second.name, " (", code, ")");
}

}  // namespace

bool IsDuoCode(absl::string_view code) { return Codes().count(std::string(code)) > 0; }

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
  if (!IsDuoCode(purpose)) {
    return {Fit::kNeedsHuman, absl::StrCat("the purpose ", purpose, " is no DUO code known here")};
  }
  if (dataset_codes.empty()) return {Fit::kNeedsHuman, "the dataset names no permitted use"};
  const std::string wanted = PermissionFor(purpose);
  const bool methods = purpose == "DUO:0000031";
  bool permitted = false;
  std::string human;
  for (const std::string& code : dataset_codes) {
    auto it = Codes().find(code);
    if (it == Codes().end())
      return {Fit::kNeedsHuman,
              absl::StrCat("the dataset carries ", code, ", which is not known here")};
    switch (it->second.kind) {
      case Code::kPermission:
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
      case Code::kRefusesMethods:
        if (methods) return {Fit::kConflicts, absl::StrCat("the dataset allows ", Named(code))};
        break;
      case Code::kRefusesAncestry:
        if (wanted == "DUO:0000011")
          return {Fit::kConflicts, absl::StrCat("the dataset says ", Named(code))};
        break;
      case Code::kRefusesCommercial:
        human = absl::StrCat("check the applicant's organisation and use: ", Named(code));
        break;
      case Code::kDuty:
        human = absl::StrCat("check the evidence for: ", Named(code));
        break;
      case Code::kPurpose:
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
