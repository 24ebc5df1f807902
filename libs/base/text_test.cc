// SPDX-License-Identifier: Apache-2.0
#include "libs/base/text.h"

#include <catch2/catch.hpp>
#include <string>

namespace oncomesh::base {
namespace {

TEST_CASE("text: what steers a terminal is found, in every form it has in UTF-8") {
  for (const char* bad : {"\x1b[2J", "a\nb", "tab\there", "\r", "\x7f",
                          "\xc2\x9b"
                          "2J",
                          "line\xe2\x80\xa8separator", "\xe2\x80\xa9"}) {
    INFO(bad);
    CHECK(HasControlCharacters(bad));
  }
  CHECK(HasControlCharacters(absl::string_view("a\0b", 3)));
  for (const char* good :
       {"", "Lung CT, 2019", "Weichteilsarkom der Extremit\xc3\xa4ten", "\xe8\x82\xba\xe7\x99\x8c",
        "non\xc2\xa0"
        "breaking",
        "\xe2\x80\x93 dash", "\xf0\x9f\xa9\xbb"}) {
    INFO(good);
    CHECK_FALSE(HasControlCharacters(good));
  }
}

}  // namespace
}  // namespace oncomesh::base
