// SPDX-License-Identifier: Apache-2.0
#include "services/training/manifest.h"

#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "libs/base/files.h"
#include "libs/crypto/digest.h"
#include "libs/testing/status_matchers.h"
#include "libs/testing/test_data.h"

namespace oncomesh::training {
namespace {

using absl::StatusCode;

struct Vector {
  Vector()
      : json(nlohmann::json::parse(*base::ReadFile(
            testing::SourcePath("services/training/testdata/round-manifest.json")))) {}
  std::string Text(const char* name) const { return json.at(name).get<std::string>(); }
  crypto::PrivateKey Key() const {
    auto key = crypto::PrivateKey::FromEd25519Seed(absl::HexStringToBytes(Text("seed")));
    REQUIRE_OK(key);
    return *key;
  }
  crypto::KeySet Keys() const { return {{Text("kid"), Key().Public()}}; }
  nlohmann::json json;
};

// The round that the vector describes.
RunRecord Record() {
  const auto sha = [](const char* text) { return crypto::Sha256Hex(text); };
  RunRecord record;
  v1::Run& run = record.run;
  run.set_name("run-vector");
  run.set_plan_sha256(sha("plan"));
  run.set_permit("permit-vector");
  run.set_permit_sha256(sha("permit"));
  run.set_statistics_sha256(sha("statistics"));
  run.set_manifest_sha256(sha("manifest 1"));
  v1::Plan& plan = *run.mutable_plan();
  plan.set_strategy(v1::STRATEGY_NEWTON);
  plan.mutable_trainer()->set_name("tumour-voxels");
  plan.mutable_trainer()->set_digest(sha("trainer"));
  plan.add_datasets("nodes/north/datasets/sarcoma/versions/1");
  plan.add_datasets("nodes/south/datasets/sarcoma/versions/1");
  v1::Round& round = record.round;
  round.set_number(2);
  round.set_kind(v1::Round::KIND_TRAIN);
  round.set_input_sha256(sha("model 1"));
  absl::Time open;
  REQUIRE(absl::ParseTime(absl::RFC3339_full, "2027-01-15T08:00:00Z", &open, nullptr));
  *round.mutable_open_time() = ToProto(open);
  *round.mutable_close_time() = ToProto(open + absl::Milliseconds(9250));
  TaskRecord north, south;
  north.contribution.set_node("north");
  north.contribution.set_state(v1::Contribution::STATE_DONE);
  north.contribution.set_examples(120000);
  north.contribution.set_cases(5);
  north.contribution.set_update_sha256(sha("update north"));
  north.contribution.set_update_bytes(3456);
  (*north.contribution.mutable_metrics())["loss"] = 0.1;
  south.contribution.set_node("south");
  south.contribution.set_state(v1::Contribution::STATE_DROPPED);
  south.contribution.set_reason("DEADLINE");
  record.tasks = {north, south};
  return record;
}

TEST_CASE("manifest: payload, signature and digest are those of the vector made elsewhere") {
  Vector vector;
  Closing closing;
  closing.model_sha256 = crypto::Sha256Hex("model 2");
  closing.examples = 120000;
  closing.metrics = {{"loss", 0.1}};
  closing.grids = {{"hessian", {31, 0}}, {"intercept", {40, 0}}, {"weights", {38, 2}}};
  const std::string payload = ManifestPayload(Record(), closing, "oncomesh/0.0.0-vector");
  CHECK(payload == vector.Text("payload"));
  // Ed25519 is deterministic: the same key and payload give the same signature everywhere.
  const std::string jws = SignManifest(vector.Key(), payload);
  CHECK(jws == vector.Text("jws"));
  CHECK(crypto::Sha256Hex(jws) == vector.Text("sha256"));
  REQUIRE_VALUE(std::string verified, VerifyManifest(vector.Text("jws"), vector.Keys()));
  CHECK(verified == payload);
}

TEST_CASE("manifest: changed in any place, or signed by another, it is refused") {
  Vector vector;
  const std::string jws = vector.Text("jws");
  for (size_t i = 0; i < jws.size(); i += 7) {
    std::string changed = jws;
    changed[i] = changed[i] == 'A' ? 'B' : 'A';
    CAPTURE(i);
    REQUIRE_FALSE(VerifyManifest(changed, vector.Keys()).ok());
  }
  crypto::PrivateKey other = crypto::PrivateKey::Generate(crypto::KeyType::kEd25519);
  REQUIRE_REASON(VerifyManifest(jws, {{vector.Text("kid"), other.Public()}}),
                 StatusCode::kUnauthenticated, "MANIFEST_SIGNATURE_INVALID");
  REQUIRE_REASON(VerifyManifest(SignManifest(other, vector.Text("payload")), vector.Keys()),
                 StatusCode::kUnauthenticated, "MANIFEST_KEY_UNKNOWN");
  // A genuine signature of the same key over a thing of another type.
  REQUIRE_REASON(
      VerifyManifest(crypto::SignJws(vector.Key(), vector.Text("kid"), "permit+jwt", "{}"),
                     vector.Keys()),
      StatusCode::kInvalidArgument, "MANIFEST_MALFORMED");
  for (const char* text : {"", ".", "..", "a.b.c", "a.b.c.d"}) {
    REQUIRE_REASON(VerifyManifest(text, vector.Keys()), StatusCode::kInvalidArgument,
                   "MANIFEST_MALFORMED");
  }
}

}  // namespace
}  // namespace oncomesh::training
