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

std::optional<int64_t> AnswerMemory::Answer(const Bits& patients, const DisclosureRules& rules) {
  const auto count = static_cast<int64_t>(patients.Count());
  const auto apart = static_cast<size_t>(rules.apart());
  const size_t near = (apart + 1) / 2;  // min_cell
  base::MutexLock lock(mutex_);
  if (!(rules_ == rules)) {
    // Numbers of other rules would be wrong under these.
    by_count_.clear();
    by_time_.clear();
    rules_ = rules;
  }
  // The nearest of each kind. The empty reference stands first: hidden, as far as there are
  // patients.
  struct Nearest {
    size_t distance;
    uint64_t number;
    std::optional<int64_t> told;
  };
  Nearest reference{static_cast<size_t>(count), 0, std::nullopt};
  Nearest follower{near, 0, std::nullopt};
  // Populations that are nearer than `apart` have counts that are, too.
  auto end = by_count_.upper_bound(count + rules.apart() - 1);
  for (auto it = by_count_.lower_bound(count - rules.apart() + 1); it != end; ++it) {
    const Past& past = it->second;
    Nearest& nearest = past.reference ? reference : follower;
    size_t distance = Bits::Difference(past.patients, patients, nearest.distance);
    if (distance < nearest.distance ||
        (distance == nearest.distance && past.number < nearest.number)) {
      nearest = {distance, past.number, past.told};
    }
  }
  if (reference.distance < near) return reference.told;
  if (follower.distance < near) return follower.told;
  const bool fresh = reference.distance >= apart;
  std::optional<int64_t> told = fresh ? Round(count, rules) : reference.told;
  auto place = by_count_.emplace(count, Past{patients, told, fresh, ++last_});
  by_time_.emplace(last_, place);
  if (by_time_.size() > capacity_) {
    by_count_.erase(by_time_.begin()->second);
    by_time_.erase(by_time_.begin());
  }
  return told;
}

}  // namespace oncomesh::catalogue
