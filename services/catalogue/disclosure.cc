// SPDX-License-Identifier: Apache-2.0
#include "services/catalogue/disclosure.h"

#include <algorithm>
#include <utility>

namespace oncomesh::catalogue {

std::optional<int64_t> Round(int64_t patients, const DisclosureRules& rules) {
  if (patients < std::max<int64_t>(rules.min_cell, 1)) return std::nullopt;
  int64_t step = std::max<int64_t>(rules.rounding, 1);
  return std::max(step, (patients + step / 2) / step * step);
}

void Suppress(std::vector<Cell>& cells, const DisclosureRules& rules) {
  int64_t least = std::max<int64_t>(rules.min_cell, 1);
  for (Cell& cell : cells) cell.shown = cell.patients >= least;
  if (cells.empty()) return;
  // Lines of one variable: the cells that agree in all other coordinates.
  std::vector<std::vector<Cell*>> lines;
  for (size_t axis = 0; axis < cells[0].place.size(); ++axis) {
    std::map<std::vector<size_t>, std::vector<Cell*>> by_rest;
    for (Cell& cell : cells) {
      std::vector<size_t> rest = cell.place;
      rest.erase(rest.begin() + static_cast<std::ptrdiff_t>(axis));
      by_rest[rest].push_back(&cell);
    }
    for (auto& [rest, line] : by_rest) lines.push_back(std::move(line));
  }
  // Each round hides at least one more cell, so this ends.
  for (bool changed = true; changed;) {
    changed = false;
    for (const std::vector<Cell*>& line : lines) {
      int64_t hidden = 0;
      Cell* smallest = nullptr;
      for (Cell* cell : line) {
        if (!cell->shown) {
          hidden += cell->patients;
        } else if (smallest == nullptr || cell->patients < smallest->patients) {
          smallest = cell;
        }
      }
      if (hidden > 0 && hidden < least && smallest != nullptr) {
        smallest->shown = false;
        changed = true;
      }
    }
  }
}

void AnswerMemory::Enter(Place place) {
  place->second.used = ++last_;
  ByUse& list = List(place->second.asked);
  list.emplace(last_, place);
  if (list.size() <= capacity_) return;
  by_count_.erase(list.begin()->second);
  list.erase(list.begin());
}

void AnswerMemory::Renew(Place place, Asked asked) {
  Past& past = place->second;
  List(past.asked).erase(past.used);
  if (asked == Asked::kQuestion) past.asked = asked;
  Enter(place);
}

AnswerMemory::Told AnswerMemory::Tell(const Bits& patients, const DisclosureRules& rules,
                                      Asked asked) {
  const auto count = static_cast<int64_t>(patients.Count());
  const auto apart = static_cast<size_t>(rules.apart());
  const size_t near = (apart + 1) / 2;  // min_cell
  base::MutexLock lock(mutex_);
  if (!(rules_ == rules)) {
    // Numbers of other rules would be wrong under these.
    by_count_.clear();
    questions_.clear();
    groups_.clear();
    rules_ = rules;
  }
  // The nearest of each kind. The empty reference stands first: hidden, as far as there are
  // patients. `place` is unset for it and for no follower at all.
  struct Nearest {
    size_t distance;
    uint64_t number;
    std::optional<int64_t> told;
    std::optional<Place> place;
  };
  Nearest reference{static_cast<size_t>(count), 0, std::nullopt, std::nullopt};
  Nearest follower{near, 0, std::nullopt, std::nullopt};
  // Populations that are nearer than `apart` have counts that are, too.
  auto end = by_count_.upper_bound(count + rules.apart() - 1);
  for (auto it = by_count_.lower_bound(count - rules.apart() + 1); it != end; ++it) {
    const Past& past = it->second;
    Nearest& nearest = past.reference ? reference : follower;
    size_t distance = Bits::Difference(past.patients, patients, nearest.distance);
    if (distance < nearest.distance ||
        (distance == nearest.distance && past.number < nearest.number)) {
      nearest = {distance, past.number, past.told, it};
    }
  }
  const Nearest* answering = nullptr;
  if (reference.distance < near) {
    answering = &reference;
  } else if (follower.distance < near) {
    answering = &follower;
  }
  if (answering != nullptr) {
    if (answering->place.has_value()) Renew(*answering->place, asked);
    return {answering->told, answering == &reference && reference.distance == 0};
  }
  const bool fresh = reference.distance >= apart;
  std::optional<int64_t> told = fresh ? Round(count, rules) : reference.told;
  if (!fresh && reference.place.has_value()) Renew(*reference.place, asked);
  const uint64_t number = ++last_;
  Enter(by_count_.emplace(count, Past{patients, told, fresh, number, asked, number}));
  return {told, fresh};
}

}  // namespace oncomesh::catalogue
