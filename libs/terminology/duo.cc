// SPDX-License-Identifier: Apache-2.0
#include "libs/terminology/duo.h"

#include <algorithm>
#include <array>

namespace oncomesh::terminology {
namespace {

// Data Use Ontology, release line v2021-02-23; abstract and obsolete codes are left out. Sorted.
constexpr auto kCodes = std::to_array<DuoCode>({
    {"DUO:0000004", "no restriction", DuoCode::Kind::kPermission},
    {"DUO:0000006", "health or medical or biomedical research", DuoCode::Kind::kPermission},
    {"DUO:0000007", "disease specific research", DuoCode::Kind::kPermission},
    {"DUO:0000011", "population origins or ancestry research only", DuoCode::Kind::kPermission},
    {"DUO:0000012", "research specific restrictions", DuoCode::Kind::kDuty},
    {"DUO:0000015", "no general methods research", DuoCode::Kind::kRefusesMethods},
    {"DUO:0000016", "genetic studies only", DuoCode::Kind::kDuty},
    {"DUO:0000018", "not for profit, non commercial use only", DuoCode::Kind::kRefusesCommercial},
    {"DUO:0000019", "publication required", DuoCode::Kind::kDuty},
    {"DUO:0000020", "collaboration required", DuoCode::Kind::kDuty},
    {"DUO:0000021", "ethics approval required", DuoCode::Kind::kDuty},
    {"DUO:0000022", "geographical restriction", DuoCode::Kind::kDuty},
    {"DUO:0000024", "publication moratorium", DuoCode::Kind::kDuty},
    {"DUO:0000025", "time limit on use", DuoCode::Kind::kDuty},
    {"DUO:0000026", "user specific restriction", DuoCode::Kind::kDuty},
    {"DUO:0000027", "project specific restriction", DuoCode::Kind::kDuty},
    {"DUO:0000028", "institution specific restriction", DuoCode::Kind::kDuty},
    {"DUO:0000029", "return to database or resource", DuoCode::Kind::kDuty},
    {"DUO:0000031", "method development", DuoCode::Kind::kPurpose},
    {"DUO:0000032", "population research", DuoCode::Kind::kPurpose},
    {"DUO:0000033", "ancestry research", DuoCode::Kind::kPurpose},
    {"DUO:0000034", "age category research", DuoCode::Kind::kPurpose},
    {"DUO:0000035", "gender category research", DuoCode::Kind::kPurpose},
    {"DUO:0000036", "research control", DuoCode::Kind::kPurpose},
    {"DUO:0000037", "biomedical research", DuoCode::Kind::kPurpose},
    {"DUO:0000038", "genetic research", DuoCode::Kind::kPurpose},
    {"DUO:0000039", "drug development research", DuoCode::Kind::kPurpose},
    {"DUO:0000040", "disease category research", DuoCode::Kind::kPurpose},
    {"DUO:0000042", "general research use", DuoCode::Kind::kPermission},
    {"DUO:0000043", "clinical care use", DuoCode::Kind::kPermission},
    {"DUO:0000044", "population origins or ancestry research prohibited",
     DuoCode::Kind::kRefusesAncestry},
    {"DUO:0000045", "not for profit organisation use only", DuoCode::Kind::kRefusesCommercial},
    {"DUO:0000046", "non-commercial use only", DuoCode::Kind::kRefusesCommercial},
});

bool Less(const DuoCode& one, absl::string_view code) { return one.code < code; }

}  // namespace

const DuoCode* FindDuoCode(absl::string_view code) {
  const auto* found = std::lower_bound(kCodes.begin(), kCodes.end(), code, Less);
  return found != kCodes.end() && found->code == code ? found : nullptr;
}

bool IsDuoCode(absl::string_view code) { return FindDuoCode(code) != nullptr; }

}  // namespace oncomesh::terminology
