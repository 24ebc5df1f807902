// SPDX-License-Identifier: Apache-2.0
#include "services/deidentification/identifier_search.h"

#include <catch2/catch.hpp>
#include <chrono>
#include <string>

#include "absl/strings/str_cat.h"

namespace oncomesh::deidentification {
namespace {

TEST_CASE("search: every string is found where it stands alone, however many there are",
          "[deidentification]") {
  IdentifierSearch search;
  const std::string long_text(1000, 'q');
  for (const char* text : {"miller", "mill", "Millerson", "1.2.3.4", "MILLER", "abc"}) {
    search.Add(text);
  }
  search.Add(long_text);
  search.Finish();
  size_t which = 99;
  CHECK(search.Find("a Miller b", 0, 4, &which) == 2);
  CHECK(which == 0);
  CHECK(search.Find("millers") == IdentifierSearch::kNoHit);
  CHECK(search.Find("x mill.", 0, 4, &which) == 2);
  CHECK(which == 1);
  CHECK(search.Find("x mill.", 0, 5) == IdentifierSearch::kNoHit);
  CHECK(search.Find("MILLERSON", 0, 8, &which) == 0);
  CHECK(which == 2);
  CHECK(search.Find("11.2.3.4") == IdentifierSearch::kNoHit);
  CHECK(search.Find("abc abc abc") == IdentifierSearch::kNoHit);
  CHECK(search.Find("x " + long_text, 0, 4, &which) == 2);
  CHECK(which == 6);
  // 20,000 strings with the same beginning, over bytes that have it everywhere.
  IdentifierSearch many;
  std::string bytes;
  for (int i = 0; i < 20'000; ++i) many.Add(absl::StrCat("1.2.840.", i));
  many.Finish();
  for (int i = 0; i < 100'000; ++i) bytes += "1.2.840.x ";
  auto started = std::chrono::steady_clock::now();
  CHECK(many.Find(bytes) == IdentifierSearch::kNoHit);
  CHECK(many.Find(bytes + "1.2.840.19999") == bytes.size());
  CHECK(std::chrono::steady_clock::now() - started < std::chrono::seconds(10));
}

}  // namespace
}  // namespace oncomesh::deidentification
