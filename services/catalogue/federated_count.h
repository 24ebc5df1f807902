// SPDX-License-Identifier: Apache-2.0
// One question to every node, and one honest answer: who said what, who did not, and a sum of
// nothing but numbers that nodes gave.
#pragma once

#include <atomic>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "libs/base/clock.h"
#include "libs/terminology/registry.h"
#include "oncomesh/catalogue/v1/catalogue.pb.h"
#include "oncomesh/catalogue/v1/node_catalogue.pb.h"

namespace oncomesh::catalogue {

// A node of the mesh as the hub knows it.
struct MeshNode {
  std::string name;
  bool connected = true;
};

// Which nodes there are. Any thread.
class NodeDirectory {
 public:
  virtual ~NodeDirectory() = default;
  // Members, by name; neither suspended nor removed. Errors: UNAVAILABLE (NODES_UNKNOWN).
  virtual absl::StatusOr<std::vector<MeshNode>> Nodes() = 0;
};

// Asks one node. Any thread, many at a time.
class NodeCounter {
 public:
  virtual ~NodeCounter() = default;
  // Returns by `deadline`. `permit` is the caller's, or empty.
  // Errors: DEADLINE_EXCEEDED; UNAVAILABLE when the node is not connected; whatever else it says.
  virtual absl::StatusOr<v1::NodeCount> Count(const std::string& node,
                                              const v1::CountAtNodeRequest& request,
                                              const std::string& permit, absl::Time deadline) = 0;
};

// Any thread.
class FederatedCount {
 public:
  // Nodes asked at the same time by one call.
  static constexpr size_t kMaxParallel = 64;

  struct Deps {
    const terminology::Registry& registry;
    NodeDirectory& nodes;
    NodeCounter& counter;
    const base::Clock& clock;
    // Threads of all calls together, besides the callers' own. When they are taken, or the system
    // gives none, a call asks its nodes a few at a time.
    size_t max_threads = 512;
  };
  explicit FederatedCount(Deps deps) : deps_(deps) {}

  // Waits for every node until `deadline` less a tenth of the time that is left (at most a second),
  // so that the answer still reaches the caller. Errors: those of CatalogueService.Count.
  absl::StatusOr<v1::CountResponse> Count(const v1::CountRequest& request,
                                          const std::string& permit, absl::Time deadline);

 private:
  v1::NodeCount Ask(const MeshNode& node, const v1::CountAtNodeRequest& question,
                    const std::string& permit, absl::Time deadline);

  // Takes threads to ask `nodes` nodes with; how many the caller may start. Given back by taking
  // them off threads_.
  size_t Reserve(size_t nodes);

  Deps deps_;
  std::atomic<size_t> threads_{0};
};

// The sum over `nodes` into `out`: total of the values there are, unset when there is none; masked
// when a value is missing or a part.
void SumUp(v1::CountResponse& out);

}  // namespace oncomesh::catalogue
