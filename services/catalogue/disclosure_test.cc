// SPDX-License-Identifier: Apache-2.0
#include "services/catalogue/disclosure.h"

#include <catch2/catch.hpp>
#include <map>
#include <random>

namespace oncomesh::catalogue {
namespace {

const DisclosureRules kFive{.min_cell = 5, .rounding = 5};

Bits Range(size_t begin, size_t end, size_t size = 1000) {
  Bits out(size);
  out.SetRange(begin, end);
  return out;
}

TEST_CASE("disclosure: small numbers are hidden, zero like the others; the rest is rounded") {
  CHECK_FALSE(Round(0, kFive).has_value());
  CHECK_FALSE(Round(4, kFive).has_value());
  CHECK(Round(5, kFive) == 5);
  CHECK(Round(7, kFive) == 5);
  CHECK(Round(8, kFive) == 10);
  CHECK(Round(102, kFive) == 100);
  CHECK(Round(5, {.min_cell = 5, .rounding = 100}) == 100);  // never rounded to zero
  CHECK(Round(13, {.min_cell = 5, .rounding = 1}) == 13);
  CHECK_FALSE(Round(0, {.min_cell = 0, .rounding = 0}).has_value());
}

TEST_CASE("disclosure: a hidden cell does not follow from the totals") {
  // One line: 20, 9, 3. Hiding 3 alone would leave it as total - 29.
  std::vector<Cell> line = {{{0}, 20}, {{1}, 9}, {{2}, 3}};
  Suppress(line, kFive);
  CHECK(line[0].shown);
  CHECK_FALSE(line[1].shown);
  CHECK_FALSE(line[2].shown);
  // Two small ones that together are not small protect each other.
  std::vector<Cell> two = {{{0}, 20}, {{1}, 3}, {{2}, 2}};
  Suppress(two, kFive);
  CHECK(two[0].shown);
}

TEST_CASE("disclosure: in every line of every table the hidden cells hold nobody or enough") {
  std::mt19937 random(5);
  for (int i = 0; i < 300; ++i) {
    std::vector<Cell> cells;
    for (size_t a = 0; a < 4; ++a) {
      for (size_t b = 0; b < 3; ++b) {
        for (size_t c = 0; c < 2; ++c) {
          if (random() % 5 == 0) continue;
          cells.push_back({{a, b, c}, static_cast<int64_t>(random() % 30)});
        }
      }
    }
    Suppress(cells, kFive);
    std::map<std::vector<size_t>, std::pair<int64_t, bool>> lines;  // hidden patients, any shown
    for (const Cell& cell : cells) {
      CHECK((cell.patients >= 5 || !cell.shown));
      for (size_t axis = 0; axis < 3; ++axis) {
        std::vector<size_t> key = cell.place;
        key[axis] = 99;
        auto& line = lines[key];
        if (cell.shown) {
          line.second = true;
        } else {
          line.first += cell.patients;
        }
      }
    }
    for (const auto& [key, line] : lines) {
      if (line.second) CHECK((line.first == 0 || line.first >= 5));
    }
  }
}

TEST_CASE("disclosure: asking with and without one person shows no difference") {
  AnswerMemory memory;
  // 12 rounds to 10 and 13 to 15: the edge would give the thirteenth away.
  CHECK(memory.Answer(Range(0, 12), kFive) == 10);
  CHECK(memory.Answer(Range(0, 13), kFive) == 10);
  CHECK(memory.Answer(Range(0, 20), kFive) == 10);
  // Nine more are another population, and it is told for what it is.
  CHECK(memory.Answer(Range(0, 25), kFive) == 25);
  // The same number of other people has its own answer.
  CHECK(memory.Answer(Range(500, 513), kFive) == 15);
  CHECK_FALSE(memory.Answer(Range(0, 3), kFive).has_value());
}

TEST_CASE("disclosure: at the edge of what is hidden a missing person does not show either") {
  // k, k + 1, 2k - 2, 2k - 1, 2k and more, each with and without some of its people.
  for (size_t all : {5, 6, 8, 9, 10, 13, 17, 18}) {
    for (size_t fewer = 1; fewer < 5 && fewer <= all; ++fewer) {
      AnswerMemory whole_first, part_first;
      std::optional<int64_t> whole = whole_first.Answer(Range(0, all), kFive);
      CHECK(whole_first.Answer(Range(0, all - fewer), kFive) == whole);
      std::optional<int64_t> part = part_first.Answer(Range(0, all - fewer), kFive);
      CHECK(part_first.Answer(Range(0, all), kFive) == part);
    }
  }
  AnswerMemory memory;
  CHECK(memory.Answer(Range(0, 9), kFive) == 10);
  CHECK(memory.Answer(Range(0, 5), kFive) == 10);  // the answer of the nine
  CHECK_FALSE(memory.Answer(Range(0, 4), kFive).has_value());
  CHECK_FALSE(memory.Answer(Range(20, 28), kFive).has_value());
  CHECK_FALSE(memory.Answer(Range(20, 29), kFive).has_value());  // the answer of the eight
  CHECK(memory.Answer(Range(20, 33), kFive) == 15);
  // With a smallest cell of one there is nothing to hide but that there is nobody.
  const DisclosureRules one{.min_cell = 1, .rounding = 1};
  for (size_t n = 1; n < 20; ++n) CHECK(memory.Answer(Range(0, n), one) == n);
}

TEST_CASE("disclosure: a difference attack over every person of a population finds nobody") {
  AnswerMemory memory;
  std::optional<int64_t> all = memory.Answer(Range(100, 148), kFive);
  for (size_t person = 100; person < 148; ++person) {
    Bits without = Range(100, person);
    without.Or(Range(person + 1, 148));
    CHECK(memory.Answer(without, kFive) == all);
  }
}

TEST_CASE("disclosure: a population that grows patient by patient does not keep its number") {
  AnswerMemory memory;
  for (size_t n = 20; n < 300; ++n) {
    std::optional<int64_t> told = memory.Answer(Range(0, n), kFive);
    REQUIRE(told.has_value());
    // The documented bound: at most 3k - 3 patients, and the rounding.
    CHECK(std::abs(*told - static_cast<int64_t>(n)) <= 12 + 2);
  }
}

TEST_CASE("disclosure: new rules forget the numbers of the old ones, and memory is bounded") {
  AnswerMemory memory(/*capacity=*/2);
  const DisclosureRules ten{.min_cell = 10, .rounding = 1};
  CHECK(memory.Answer(Range(0, 12), kFive) == 10);
  CHECK(memory.Answer(Range(0, 13), {.min_cell = 5, .rounding = 10}) == 10);
  CHECK(memory.Answer(Range(0, 25), ten) == 25);
  CHECK(memory.Answer(Range(200, 260), ten) == 60);
  CHECK(memory.Answer(Range(300, 390), ten) == 90);
  CHECK(memory.Answer(Range(0, 26), ten) == 26);  // forgotten by now
  CHECK(memory.Answer(Range(300, 391), ten) == 90);
}

TEST_CASE("disclosure: what is asked again is not forgotten, and splits push out no question") {
  AnswerMemory memory(/*capacity=*/2);
  CHECK(memory.Answer(Range(0, 12), kFive) == 10);
  CHECK(memory.Answer(Range(200, 260), kFive) == 60);
  CHECK(memory.Answer(Range(0, 12), kFive) == 10);  // used again
  CHECK(memory.Answer(Range(300, 390), kFive) == 90);
  // Thirteen alone would be told 15.
  CHECK(memory.Answer(Range(0, 13), kFive) == 10);

  using Asked = AnswerMemory::Asked;
  for (size_t n = 0; n < 10; ++n) {
    const Bits group = Range(400 + 50 * n, 450 + 50 * n);
    CHECK(memory.Tell(group, kFive, Asked::kGroup).number == 50);
  }
  CHECK(memory.Answer(Range(0, 13), kFive) == 10);
  // A group is told what a question was, and the other way round. What is asked as a question is
  // kept as one.
  CHECK(memory.Tell(Range(0, 13), kFive, Asked::kGroup).number == 10);
  CHECK(memory.Tell(Range(600, 623), kFive, Asked::kGroup).number == 25);
  CHECK(memory.Answer(Range(600, 622), kFive) == 25);  // twenty-two alone: 20
  for (size_t n = 0; n < 4; ++n) {
    memory.Tell(Range(400 + 50 * n, 450 + 50 * n), kFive, Asked::kGroup);
  }
  CHECK(memory.Answer(Range(600, 622), kFive) == 25);
}

TEST_CASE("disclosure: it is known whether a number is the population's own") {
  AnswerMemory memory;
  auto own = [&](size_t end) {
    return memory.Tell(Range(0, end), kFive, AnswerMemory::Asked::kQuestion).own;
  };
  CHECK(own(40));
  CHECK(own(40));
  CHECK_FALSE(own(41));  // also told 40
  CHECK_FALSE(own(46));
  CHECK_FALSE(own(46));
  CHECK_FALSE(own(50));
  CHECK(own(51));
  CHECK_FALSE(own(3));
}

TEST_CASE("disclosure: distances stop counting where nobody needs to know more") {
  CHECK(Bits::Difference(Range(0, 100), Range(50, 150)) == 100);
  CHECK(Bits::Difference(Range(0, 100), Range(50, 150), 100) == 100);
  CHECK(Bits::Difference(Range(0, 100), Range(50, 150), 10) > 10);
  CHECK(Bits::Difference(Range(0, 10, 10), Range(0, 900), 3) > 3);
  CHECK(Bits::Difference(Range(0, 10, 10), Range(0, 900)) == 890);
}

}  // namespace
}  // namespace oncomesh::catalogue
