// SPDX-License-Identifier: Apache-2.0
// Attacks on a world small enough to try all of them. A population is any subset of the patients,
// which is more than any expression over any attributes can name; the attacker asks any questions
// in any order and sees everything that is told. The oracle is the rule as doc/formats/query.md
// words it, not the code.
#include <algorithm>
#include <bit>
#include <catch2/catch.hpp>
#include <map>
#include <optional>
#include <vector>

#include "services/catalogue/disclosure.h"

namespace oncomesh::catalogue {
namespace {

using Set = unsigned;  // a bit for each patient
using Told = std::optional<int64_t>;

int Size(Set set) { return std::popcount(set); }
int Distance(Set a, Set b) { return std::popcount(a ^ b); }

struct World {
  int patients;
  DisclosureRules rules;
  size_t questions = 0;  // asked in every way before what is tested

  Set everybody() const { return (1u << patients) - 1; }
  int k() const { return static_cast<int>(rules.min_cell); }
  int reach() const { return 3 * k() - 3; }  // how far a reference's answer gets

  Told Ask(AnswerMemory& memory, Set set) const {
    Bits bits(static_cast<size_t>(patients));
    for (int i = 0; i < patients; ++i) {
      if ((set >> i & 1) != 0) bits.Set(static_cast<size_t>(i));
    }
    return memory.Answer(bits, rules);
  }

  // Calls `visit` with every sequence of questions, of every length up to `questions`.
  template <typename Visit>
  void EveryHistory(Visit visit) const {
    std::vector<Set> asked;
    Extend(asked, visit);
  }

 private:
  template <typename Visit>
  void Extend(std::vector<Set>& asked, Visit& visit) const {
    visit(asked);
    if (asked.size() == questions) return;
    for (Set set = 0; set <= everybody(); ++set) {
      asked.push_back(set);
      Extend(asked, visit);
      asked.pop_back();
    }
  }
};

// The references after these questions, by the words of the rule.
std::vector<Set> References(const World& world, const std::vector<Set>& asked) {
  std::vector<Set> references = {0}, followers;
  auto any = [](const std::vector<Set>& sets, Set set, int distance) {
    return std::any_of(sets.begin(), sets.end(),
                       [&](Set one) { return Distance(one, set) < distance; });
  };
  for (Set set : asked) {
    if (any(references, set, world.k()) || any(followers, set, world.k())) continue;
    (any(references, set, 2 * world.k() - 1) ? followers : references).push_back(set);
  }
  return references;
}

bool Contains(const std::vector<Set>& sets, Set set) {
  return std::find(sets.begin(), sets.end(), set) != sets.end();
}

const World kWorlds[] = {
    {5, {.min_cell = 2, .rounding = 1}, 3},
    {6, {.min_cell = 2, .rounding = 2}, 2},
    {7, {.min_cell = 3, .rounding = 1}, 1},
    {9, {.min_cell = 3, .rounding = 5}, 1},
};

TEST_CASE("disclosure attack: two questions never show a difference of fewer than k patients") {
  // The textbook attack: a population with and without a group of which the attacker wants to know
  // whether there is anybody. The group is any of fewer than k patients, the order any.
  size_t pairs = 0, faults = 0;
  for (const World& world : kWorlds) {
    for (Set a = 0; a <= world.everybody(); ++a) {
      for (Set b = 0; b <= world.everybody(); ++b) {
        if (Distance(a, b) >= world.k()) continue;
        AnswerMemory memory;
        Told first = world.Ask(memory, a);
        faults += world.Ask(memory, b) == first ? 0 : 1;
        faults += world.Ask(memory, a) == first ? 0 : 1;
        ++pairs;
      }
    }
  }
  CHECK(faults == 0);
  CHECK(pairs > 10000);
}

TEST_CASE("disclosure attack: whatever was asked before, nothing shows around a reference") {
  size_t histories = 0, faults = 0;
  for (const World& world : kWorlds) {
    world.EveryHistory([&](const std::vector<Set>& asked) {
      ++histories;
      AnswerMemory memory;
      std::map<Set, Told> first;
      for (Set set : asked) first.emplace(set, world.Ask(memory, set));
      std::map<Set, Told> answers = {{0, std::nullopt}};
      for (Set set : References(world, asked)) {
        if (set != 0) answers[set] = first[set];
      }
      for (Set set = 0; set <= world.everybody(); ++set) {
        Told told = world.Ask(memory, set);
        // Which people of fewer than k are in or out does not matter.
        for (const auto& [reference, answer] : answers) {
          if (Distance(set, reference) < world.k() && told != answer) ++faults;
        }
        // Fewer than k are never told, more than the reach of the empty one never hidden.
        if (Size(set) < world.k() && told.has_value()) ++faults;
        if (!told.has_value() && Size(set) > world.reach()) ++faults;
        // A number is that of a population in reach, rounded.
        int64_t b = world.rules.rounding;
        int64_t bound = world.reach() + std::max<int64_t>(b / 2, b - 2 * world.k() + 1);
        if (told.has_value() && std::abs(*told - Size(set)) > bound) ++faults;
      }
    });
  }
  CHECK(faults == 0);
  CHECK(histories > 30000);
}

TEST_CASE("disclosure attack: a difference shows only where two references are in reach") {
  size_t shown = 0, faults = 0;
  for (const World& world : kWorlds) {
    world.EveryHistory([&](const std::vector<Set>& asked) {
      AnswerMemory memory;
      std::vector<Told> told;
      for (Set set : asked) told.push_back(world.Ask(memory, set));
      const std::vector<Set> references = References(world, asked);
      for (size_t i = 0; i < asked.size(); ++i) {
        for (size_t j = 0; j < i; ++j) {
          const Set a = asked[i], b = asked[j];
          if (Distance(a, b) >= world.k() || told[i] == told[j]) continue;
          ++shown;
          // The one that was asked first was no reference.
          auto until = asked.begin() + static_cast<std::ptrdiff_t>(j) + 1;
          if (Contains(References(world, {asked.begin(), until}), b)) ++faults;
          auto near = std::count_if(references.begin(), references.end(), [&](Set one) {
            return std::min(Distance(one, a), Distance(one, b)) <= world.reach();
          });
          if (near < 2) ++faults;
        }
      }
    });
  }
  CHECK(faults == 0);
  // The limit that query.md names is there: somewhere between two references is an edge.
  CHECK(shown > 0);
}

TEST_CASE("disclosure attack: among larger populations three questions are not enough either") {
  // Out of reach of the empty population an attacker must have placed both references.
  size_t tried = 0, faults = 0;
  const World world{8, {.min_cell = 2, .rounding = 1}, 0};
  for (Set before = 0; before <= world.everybody(); ++before) {
    for (Set a = 0; a <= world.everybody(); ++a) {
      if (Size(a) <= world.reach()) continue;
      for (int person = 0; person < world.patients; ++person) {
        Set b = a ^ (1u << person);
        if (Size(b) <= world.reach()) continue;
        AnswerMemory memory;
        world.Ask(memory, before);
        Told first = world.Ask(memory, a);
        faults += world.Ask(memory, b) == first ? 0 : 1;
        ++tried;
      }
    }
  }
  CHECK(faults == 0);
  CHECK(tried > 100000);
}

}  // namespace
}  // namespace oncomesh::catalogue
