// SPDX-License-Identifier: Apache-2.0
#include "tools/bench/bench_hub.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "libs/base/clock.h"
#include "libs/base/random.h"
#include "libs/permit/permit.h"
#include "tools/bench/bench.h"

namespace oncomesh::bench {
namespace {

constexpr char kIssuer[] = "bench";

training::TrustSource TrustIn(const crypto::PrivateKey& key) {
  return [key = key.Public()]() -> absl::StatusOr<permit::TrustState> {
    permit::TrustState trust;
    trust.issuer = kIssuer;
    trust.keys.emplace("k", key);
    trust.epoch = 1;
    trust.max_age = absl::Hours(1);
    trust.fetched = base::SystemClock::Get().Now();
    return trust;
  };
}

}  // namespace

BenchHub::BenchHub(const std::string& folder)
    : manifest_key(crypto::PrivateKey::Generate(crypto::KeyType::kEd25519)),
      permit_key(crypto::PrivateKey::Generate(crypto::KeyType::kEd25519)),
      store(
          Must(training::TrainingStore::Open(absl::StrCat("sqlite:", folder, "/training.db"), ""))),
      spool(Must(training::UpdateSpool::Open(folder + "/updates"))),
      models(Must(objects::OpenFolder(folder + "/models"))),
      starting(*store, *models),
      runs({*store,
            *models,
            base::SystemClock::Get(),
            base::SystemRandom::Get(),
            TrustIn(permit_key),
            changes,
            folder + "/scratch",
            {},
            starting,
            5}),
      tasks({*store, *spool, *models, base::SystemClock::Get(), base::SystemRandom::Get(),
             TrustIn(permit_key), changes, training::LeaseRules()}),
      closer({*store, *spool, *models, base::SystemClock::Get(), base::SystemRandom::Get(), changes,
              starting, manifest_key, "bench", folder + "/scratch"}) {}

training::v1::Run BenchHub::Submit(training::v1::Plan plan, const std::vector<std::string>& nodes) {
  const absl::Time now = base::SystemClock::Get().Now();
  permit::Permit permit{.id = "permit-bench",
                        .issuer = kIssuer,
                        .people = {"b"},
                        .datasets = {},
                        .purpose = "DUO:0000006",
                        .operations = {"train"},
                        .not_before = now - absl::Hours(1),
                        .expires = now + absl::Hours(12),
                        .epoch = 1,
                        .request = "r"};
  for (const std::string& node : nodes) {
    permit.datasets.push_back(absl::StrCat("nodes/", node, "/datasets/sarcoma/versions/1"));
    plan.add_datasets(permit.datasets.back());
  }
  plan.mutable_trainer()->set_name("t");
  plan.mutable_trainer()->set_digest(std::string(64, '0'));
  rpc::Caller caller;
  caller.kind = rpc::Caller::Kind::kPerson;
  caller.subject = permit.people[0];
  caller.permit = Must(permit::Sign(permit, permit_key, "k"));
  training::v1::SubmitRunRequest request;
  request.set_request_id(base::NewUuid());
  *request.mutable_plan() = std::move(plan);
  return Must(runs.Submit(caller, request));
}

}  // namespace oncomesh::bench
