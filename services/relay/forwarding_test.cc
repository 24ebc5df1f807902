// SPDX-License-Identifier: Apache-2.0
#include "services/relay/forwarding.h"

#include <catch2/catch.hpp>

#include "libs/base/random.h"
#include "libs/testing/status_matchers.h"
#include "services/relay/backoff.h"
#include "services/relay/routes.h"

namespace oncomesh::relay {

TEST_CASE("forwarding: one URI name of the mesh makes a peer, everything else none") {
  REQUIRE_VALUE(Peer hub, PeerOf({"spiffe://d/hub/training"}, "d"));
  CHECK(hub.kind == Peer::Kind::kHubService);
  CHECK(hub.path() == "hub/training");
  REQUIRE_VALUE(Peer node, PeerOf({"spiffe://d/node/lisbon/relay"}, "d"));
  CHECK(node.kind == Peer::Kind::kNodeService);
  CHECK(node.node == "lisbon");
  CHECK(node.path() == "node/lisbon/relay");
  REQUIRE_VALUE(Peer nobody, PeerOf({}, "d"));
  CHECK(nobody.kind == Peer::Kind::kAnyone);
  CHECK(nobody.path().empty());
  for (const std::vector<std::string>& uris :
       std::vector<std::vector<std::string>>{{"spiffe://d/hub/a", "spiffe://d/hub/b"},
                                             {"spiffe://d/hub/a", "spiffe://d/hub/a"},
                                             {""},
                                             {"spiffe://e/hub/a"},
                                             {"spiffe://dd/hub/a"},
                                             {"https://d/hub/a"},
                                             {"spiffe://d/hub"},
                                             {"spiffe://d/hub/"},
                                             {"spiffe://d/hub/a/b"},
                                             {"spiffe://d/hub/.."},
                                             {"spiffe://d/hub/A"},
                                             {"spiffe://d/node/lisbon"},
                                             {"spiffe://d/node//relay"},
                                             {"spiffe://d/node/lis bon/relay"},
                                             {"spiffe://d//hub/a"}}) {
    INFO(uris[0]);
    REQUIRE_REASON(PeerOf(uris, "d"), absl::StatusCode::kUnauthenticated, "PEER_UNKNOWN");
  }
}

TEST_CASE("forwarding: of the mesh's own metadata only the permit goes on") {
  CallHeader header;
  header.method = "/a.B/C";
  header.unary = true;
  header.metadata = {{"oncomesh-node", "lisbon"},
                     {"oncomesh-caller", "hub/access"},
                     {"oncomesh-shape", "unary"},
                     {"oncomesh-permit", "p"},
                     {"oncomesh-new", "x"},
                     {"authorization", "Bearer t"},
                     {"grpc-timeout", "1S"},
                     {"te", "trailers"},
                     {"content-type", "x"},
                     {"user-agent", "x"},
                     {":path", "/"},
                     {"x-mine", "1"},
                     {"x-mine", "2"},
                     {"x-bin", "\xff"}};
  CallHeader service = Forwarded(header, "hub/training", false);
  CHECK(service.metadata == Metadata{{"oncomesh-permit", "p"},
                                     {"x-mine", "1"},
                                     {"x-mine", "2"},
                                     {"x-bin", "\xff"},
                                     {"oncomesh-caller", "hub/training"}});
  CHECK(service.method == "/a.B/C");
  CHECK(service.unary);
  CallHeader person = Forwarded(header, "", true);
  CHECK(person.metadata == Metadata{{"oncomesh-permit", "p"},
                                    {"authorization", "Bearer t"},
                                    {"x-mine", "1"},
                                    {"x-mine", "2"},
                                    {"x-bin", "\xff"}});
  REQUIRE_REASON(SingleValue(header, "x-mine"), absl::StatusCode::kInvalidArgument,
                 "METADATA_AMBIGUOUS");
  REQUIRE_VALUE(std::string none, SingleValue(header, "x-none"));
  CHECK(none.empty());
}

TEST_CASE("routes: the longest prefix counts") {
  class NoLine final : public Line {
    std::shared_ptr<OutgoingCall> NewCall() override { return nullptr; }
  };
  auto a = std::make_shared<NoLine>();
  auto b = std::make_shared<NoLine>();
  Routes routes;
  REQUIRE_OK(routes.Add("/oncomesh.access.v1.", a));
  REQUIRE_OK(routes.Add("/oncomesh.access.v1.TrustService/", b));
  CHECK(routes.Find("/oncomesh.access.v1.PeopleService/Get") == a.get());
  CHECK(routes.Find("/oncomesh.access.v1.TrustService/Get") == b.get());
  CHECK(routes.Find("/oncomesh.access.v2.PeopleService/Get") == nullptr);
  CHECK(routes.Find("") == nullptr);
}

TEST_CASE("backoff: doubles to its most, never less than a half, never the same for all") {
  Backoff backoff(absl::Milliseconds(200), absl::Seconds(5), base::SystemRandom::Get());
  absl::Duration whole = absl::Milliseconds(200);
  for (int i = 0; i < 10; ++i) {
    absl::Duration wait = backoff.Next();
    CHECK(wait >= whole / 2);
    CHECK(wait <= whole);
    whole = std::min(whole * 2, absl::Seconds(5));
  }
  backoff.Reset();
  CHECK(backoff.Next() <= absl::Milliseconds(200));
  class Fixed final : public base::Random {
   public:
    explicit Fixed(char byte) : byte_(byte) {}
    std::string Bytes(size_t n) override { return std::string(n, byte_); }

   private:
    char byte_;
  };
  Fixed low('\0'), high('\xff');
  CHECK(Backoff(absl::Seconds(1), absl::Seconds(5), low).Next() == absl::Milliseconds(500));
  CHECK(Backoff(absl::Seconds(1), absl::Seconds(5), high).Next() == absl::Seconds(1));
}

}  // namespace oncomesh::relay
