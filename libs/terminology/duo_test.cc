// SPDX-License-Identifier: Apache-2.0
#include "libs/terminology/duo.h"

#include <catch2/catch.hpp>

namespace oncomesh::terminology {
namespace {

// Names as EBISPOT/DUO publishes them (duo.csv, release v2021-02-23).
TEST_CASE("DUO: codes that exist are found, and no others") {
  for (auto [code, name] : {std::pair{"DUO:0000004", "no restriction"},
                            {"DUO:0000006", "health or medical or biomedical research"},
                            {"DUO:0000021", "ethics approval required"},
                            {"DUO:0000042", "general research use"},
                            {"DUO:0000046", "non-commercial use only"}}) {
    INFO(code);
    REQUIRE(FindDuoCode(code) != nullptr);
    CHECK(FindDuoCode(code)->name == name);
  }
  // Abstract (0000001), obsolete (0000014), none.
  for (const char* code : {"", "DUO:", "DUO:42", "DUO:0000001", "DUO:0000014", "DUO:9999999",
                           "duo:0000042", "DUO:00000042", "DUO:0000042 "}) {
    INFO(code);
    CHECK_FALSE(IsDuoCode(code));
  }
}

}  // namespace
}  // namespace oncomesh::terminology
