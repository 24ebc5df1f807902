// SPDX-License-Identifier: Apache-2.0
#include "services/access/authority.h"

#include <catch2/catch.hpp>

#include "libs/testing/status_matchers.h"
#include "libs/testing/temporary_folder.h"

namespace oncomesh::access {
namespace {

TEST_CASE("authority: certificates that live for seconds are not due before half of their life") {
  testing::TemporaryFolder folder;
  base::FakeClock clock;
  REQUIRE_VALUE(Authority authority,
                Authority::Open(folder / "authority", "mesh", absl::Seconds(30), clock));
  IdentityFolders folders(folder / "identity", {"access", "relay"});
  REQUIRE_VALUE(std::vector<v1::SigningRequest> asked, folders.Prepare());
  google::protobuf::RepeatedPtrField<v1::SigningRequest> list(asked.begin(), asked.end());
  REQUIRE_VALUE(auto certificates, authority.IssueForNode("lisbon", list));
  REQUIRE_OK(folders.Install(certificates, authority.certificate_pem()));
  CHECK_FALSE(folders.NeedRenewal(clock.Now()));
  CHECK_FALSE(folders.NeedRenewal(clock.Now() + absl::Seconds(12)));
  CHECK(folders.NeedRenewal(clock.Now() + absl::Seconds(15)));
  // Looked at often enough to be renewed well before they end.
  CHECK(folders.LookAgain() >= absl::Seconds(1));
  CHECK(folders.LookAgain() <= absl::Seconds(3));
}

}  // namespace
}  // namespace oncomesh::access
