// SPDX-License-Identifier: Apache-2.0
// The node's datasets: frozen lists of objects with a digest, and what is said of them at the hub.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/optional.h"
#include "libs/base/clock.h"
#include "libs/base/mutex.h"
#include "libs/terminology/registry.h"
#include "oncomesh/catalogue/v1/node_catalogue.pb.h"
#include "services/catalogue/current_index.h"
#include "services/catalogue/disclosure.h"
#include "services/catalogue/node_store.h"
#include "services/catalogue/policy_source.h"

namespace oncomesh::catalogue {

// The hub's catalogue, as a node reaches it. Any thread.
class RecordPublisher {
 public:
  virtual ~RecordPublisher() = default;
  // Errors of each: UNAVAILABLE (HUB_UNREACHABLE), after which it may have been done all the same;
  // those of the RPC of CatalogueService.
  virtual absl::Status Publish(const v1::DatasetRecord& record) = 0;
  virtual absl::Status Withdraw(const std::string& name) = 0;
};

// Any thread.
class Datasets {
 public:
  struct Deps {
    std::string node;  // id
    const terminology::Registry& registry;
    CurrentIndex& index;
    NodeStore& store;
    PolicySource& policy;
    AnswerMemory& memory;
    RecordPublisher& hub;
    const base::Clock& clock;
  };
  explicit Datasets(Deps deps) : deps_(std::move(deps)) {}

  // Errors of each: those of the RPC of the same name.
  absl::StatusOr<v1::DatasetRecord> Create(const v1::CreateDatasetRequest& request);
  // Repeating either mends what a lost answer or a crash has left at the hub; a withdrawal is final
  // here from its first moment, whatever is told to the hub at the same time.
  absl::StatusOr<v1::DatasetRecord> Publish(absl::string_view name);
  absl::StatusOr<v1::DatasetRecord> Withdraw(absl::string_view name);
  absl::StatusOr<v1::ListNodeDatasetsResponse> List(const v1::ListNodeDatasetsRequest& request);

  // The frozen objects, part by part, to `send`, until it returns false.
  absl::Status Manifest(absl::string_view name,
                        absl::FunctionRef<bool(const v1::GetDatasetManifestResponse&)> send);

 private:
  // What is told of the next version of `dataset`.
  absl::StatusOr<v1::Statistics> Describe(const std::string& dataset, const Index& index,
                                          Bits series, const std::vector<v1::ManifestItem>& items);
  // The statistics of the earlier version whose sizes are told of one with `items`; nothing when it
  // is told for what it is.
  absl::StatusOr<absl::optional<v1::Statistics>> ToldOfVersionNear(
      const std::string& dataset, const std::vector<v1::ManifestItem>& items,
      const DisclosureRules& rules);
  // What the hub does not know is withdrawn there.
  absl::Status WithdrawAtHub(const std::string& name) ABSL_EXCLUSIVE_LOCKS_REQUIRED(telling_hub_);

  Deps deps_;
  base::Mutex telling_hub_;
};

}  // namespace oncomesh::catalogue
