// SPDX-License-Identifier: Apache-2.0
#include "services/access/requests.h"

#include <catch2/catch.hpp>
#include <functional>
#include <set>

#include "absl/strings/str_cat.h"
#include "libs/base/error.h"
#include "libs/store/test_database.h"
#include "libs/testing/status_matchers.h"
#include "libs/testing/temporary_folder.h"
#include "services/access/permit_office.h"

namespace oncomesh::access {
namespace {

using absl::StatusCode;

constexpr char kNorth[] = "nodes/north/datasets/lung/versions/1";
constexpr char kLung[] = "nodes/north/datasets/lung";
constexpr char kSouth[] = "nodes/south/datasets/breast/versions/1";

rpc::Caller Person(const std::string& subject, std::vector<std::string> roles) {
  rpc::Caller caller;
  caller.kind = rpc::Caller::Kind::kPerson;
  caller.subject = subject;
  caller.roles = std::move(roles);
  return caller;
}

rpc::Caller Node(const std::string& node) {
  rpc::Caller caller;
  caller.kind = rpc::Caller::Kind::kService;
  caller.service = "node/" + node + "/access";
  caller.node = node;
  return caller;
}

// A request book over a real store, with two published datasets.
struct Office {
  Office() {
    auto opened = AccessStore::Open(store::TestDatabaseUrl(folder / "access.db"), "");
    REQUIRE_OK(opened);
    store = *std::move(opened);
    permits = std::make_unique<PermitOffice>(
        PermitOffice::Deps{*store, clock, base::SystemRandom::Get(), "mesh",
                           crypto::PrivateKey::Generate(crypto::KeyType::kEd25519),
                           [] { return std::vector<v1::PeopleIssuer>(); }});
    book = std::make_unique<RequestBook>(RequestBook::Deps{
        *store, clock, base::SystemRandom::Get(),
        [this](const std::string& name) -> absl::StatusOr<DatasetFacts> {
          if (!catalogue.ok()) return catalogue;
          if (name == kLung) return DatasetFacts{newest_lung, {"DUO:0000042"}};
          if (name == kNorth) return DatasetFacts{name, {"DUO:0000042"}};
          if (name == kSouth) return DatasetFacts{name, {"DUO:0000006", "DUO:0000021"}};
          return base::Error(StatusCode::kNotFound, "DATASET_NOT_FOUND", "none");
        },
        [this](const v1::Request& request, const std::vector<std::string>& datasets) {
          return permits->Sign(request, datasets);
        }});
  }

  v1::CreateRequestRequest Wish() {
    v1::CreateRequestRequest wish;
    wish.set_request_id("00000000-0000-4000-8000-000000000001");
    wish.set_title("tumour finding");
    wish.set_purpose("DUO:0000006");
    wish.add_datasets(kNorth);
    wish.add_datasets(kSouth);
    wish.add_operations("train");
    wish.mutable_until_time()->set_seconds(absl::ToUnixSeconds(clock.Now() + absl::Hours(24)));
    return wish;
  }
  v1::DecideRequest Decision(const std::string& id, bool approve, const std::string& by = "") {
    v1::DecideRequest decision;
    decision.set_id(id);
    decision.set_approve(approve);
    decision.set_reason("because");
    decision.set_decided_by(by);
    return decision;
  }

  testing::TemporaryFolder folder;
  base::FakeClock clock;
  absl::Status catalogue;
  std::string newest_lung = kNorth;
  std::unique_ptr<AccessStore> store;
  std::unique_ptr<PermitOffice> permits;
  std::unique_ptr<RequestBook> book;
  rpc::Caller ana = Person("ana", {"researcher"});
  rpc::Caller committee = Person("cleo", {"committee"});
};

TEST_CASE("requests: from the wish over holders and committee to a permit") {
  Office office;
  REQUIRE_VALUE(v1::Request request, office.book->Create(office.ana, office.Wish()));
  CHECK(request.state() == v1::Request::STATE_SUBMITTED);
  CHECK(request.datasets(0).advice() == "FITS");
  CHECK(request.datasets(1).advice() == "NEEDS_HUMAN");  // ethics approval is a duty
  REQUIRE_VALUE(v1::Request again, office.book->Create(office.ana, office.Wish()));
  CHECK(again.id() == request.id());  // the same request_id is the same request

  REQUIRE_REASON(office.book->Decide(office.committee, office.Decision(request.id(), true)),
                 StatusCode::kFailedPrecondition, "HOLDERS_PENDING");
  REQUIRE_OK(office.book->Decide(Node("north"), office.Decision(request.id(), true, "hana")));
  REQUIRE_VALUE(request,
                office.book->Decide(Node("south"), office.Decision(request.id(), true, "hugo")));
  CHECK(request.state() == v1::Request::STATE_COMMITTEE);
  REQUIRE_VALUE(request,
                office.book->Decide(office.committee, office.Decision(request.id(), true)));
  CHECK(request.state() == v1::Request::STATE_APPROVED);
  REQUIRE_VALUE(PermitRow permit, office.permits->Get(office.ana, request.permit_id()));
  CHECK(permit.permit.datasets_size() == 2);
  CHECK_FALSE(permit.jws.empty());
  // The committee sees the permit, but not the token that is as good as a key.
  REQUIRE_VALUE(PermitRow seen, office.permits->Get(office.committee, request.permit_id()));
  CHECK(seen.jws.empty());
  REQUIRE_REASON(office.permits->Get(Person("eve", {"researcher"}), request.permit_id()),
                 StatusCode::kNotFound, "PERMIT_NOT_FOUND");
}

TEST_CASE("requests: a holder that refuses takes only its own dataset out of the permit") {
  Office office;
  REQUIRE_VALUE(v1::Request request, office.book->Create(office.ana, office.Wish()));
  REQUIRE_OK(office.book->Decide(Node("north"), office.Decision(request.id(), false, "hana")));
  REQUIRE_OK(office.book->Decide(Node("south"), office.Decision(request.id(), true, "hugo")));
  REQUIRE_VALUE(request,
                office.book->Decide(office.committee, office.Decision(request.id(), true)));
  CHECK(request.state() == v1::Request::STATE_PARTLY_APPROVED);
  REQUIRE_VALUE(PermitRow permit, office.permits->Get(office.ana, request.permit_id()));
  REQUIRE(permit.permit.datasets_size() == 1);
  CHECK(permit.permit.datasets(0) == kSouth);
}

TEST_CASE("requests: another wish under the same request id is not taken for the first") {
  Office office;
  REQUIRE_VALUE(v1::Request first, office.book->Create(office.ana, office.Wish()));
  REQUIRE_OK(office.book->Decide(Node("north"), office.Decision(first.id(), true, "hana")));
  REQUIRE_VALUE(v1::Request again, office.book->Create(office.ana, office.Wish()));
  CHECK(again.id() == first.id());  // whatever has been decided since
  for (auto change : std::vector<std::function<void(v1::CreateRequestRequest&)>>{
           [](auto& wish) { wish.set_title("something else"); },
           [](auto& wish) { wish.mutable_datasets()->RemoveLast(); },
           [](auto& wish) { wish.add_operations("count"); },
           [](auto& wish) { wish.set_answers_json("{}"); }}) {
    v1::CreateRequestRequest other = office.Wish();
    change(other);
    REQUIRE_REASON(office.book->Create(office.ana, other), StatusCode::kAlreadyExists,
                   "REQUEST_ID_REUSED");
  }
}

TEST_CASE(
    "requests: a repeat is the same request, whatever has become of its datasets and its time") {
  Office office;
  v1::CreateRequestRequest wish = office.Wish();
  wish.set_datasets(0, kLung);
  REQUIRE_VALUE(v1::Request first, office.book->Create(office.ana, wish));
  CHECK(first.datasets(0).dataset() == kNorth);
  auto same = [&] {
    REQUIRE_VALUE(v1::Request again, office.book->Create(office.ana, wish));
    CHECK(again.SerializeAsString() == first.SerializeAsString());
  };
  SECTION("a newer version was published") {
    office.newest_lung = "nodes/north/datasets/lung/versions/2";
  }
  SECTION("the dataset was withdrawn") {
    office.catalogue =
        base::Error(StatusCode::kFailedPrecondition, "DATASET_WITHDRAWN", "withdrawn");
  }
  SECTION("the catalogue is away") {
    office.catalogue = base::Error(StatusCode::kUnavailable, "CATALOGUE_AWAY", "away");
  }
  SECTION("the day until which was asked has passed") { office.clock.Advance(absl::Hours(25)); }
  same();
  // A dataset whose name only begins like the other's is another one.
  v1::CreateRequestRequest other = wish;
  other.set_datasets(0, "nodes/north/datasets/lun");
  REQUIRE_REASON(office.book->Create(office.ana, other), StatusCode::kAlreadyExists,
                 "REQUEST_ID_REUSED");
}

TEST_CASE("requests: pages end by number and by size, and show what the caller may see") {
  Office office;
  auto make = [&](const rpc::Caller& who, int i, const std::string& answers) {
    v1::CreateRequestRequest wish = office.Wish();
    wish.set_request_id(std::to_string(i));
    wish.set_answers_json(answers);
    REQUIRE_OK(office.book->Create(who, wish));
  };
  const rpc::Caller bo = Person("bo", {"researcher"});
  for (int i = 0; i < 30; ++i)
    make(office.ana, i, absl::StrCat("\"", std::string((64 << 10) - 2, 'x'), "\""));
  for (int i = 0; i < 230; ++i) make(bo, i, "");
  auto all = [&](const rpc::Caller& who, int size, size_t most_bytes) {
    v1::ListRequestsRequest query;
    query.set_page_size(size);
    std::set<std::string> seen;
    do {
      v1::ListRequestsResponse page;
      REQUIRE_OK(office.book->List(who, query, page));
      CHECK(page.requests_size() <= size);
      CHECK(page.ByteSizeLong() <= most_bytes);
      for (const v1::Request& request : page.requests()) CHECK(seen.insert(request.id()).second);
      query.set_page_token(page.next_page_token());
    } while (!query.page_token().empty());
    return seen.size();
  };
  CHECK(all(office.ana, 200, (1 << 20) + (66 << 10)) == 30);
  CHECK(all(bo, 7, 1 << 20) == 230);
  CHECK(all(office.committee, 200, (1 << 20) + (66 << 10)) == 260);
  CHECK(all(Node("north"), 50, (1 << 20) + (66 << 10)) == 260);
  CHECK(all(Node("west"), 50, 1 << 20) == 0);
}

TEST_CASE("requests: one applicant cannot fill the hub") {
  Office office;
  v1::CreateRequestRequest wish = office.Wish();
  for (int i = 0; i < AccessStore::kMostRequests; ++i) {
    wish.set_request_id(std::to_string(i));
    REQUIRE_OK(office.book->Create(office.ana, wish));
  }
  REQUIRE_OK(office.book->Create(office.ana, wish));  // the last once more
  wish.set_request_id("one more");
  REQUIRE_REASON(office.book->Create(office.ana, wish), StatusCode::kResourceExhausted,
                 "REQUESTS_TOO_MANY");
  REQUIRE_OK(office.book->Create(Person("bo", {"researcher"}), wish));
}

TEST_CASE("requests: a restored hub's epoch is raised, never lowered") {
  Office office;
  REQUIRE_OK(office.store->RaiseEpochTo(41));
  REQUIRE_OK(office.store->RaiseEpochTo(7));
  REQUIRE_VALUE(int64_t epoch, office.store->Epoch());
  CHECK(epoch == 41);
}

TEST_CASE("requests: the permit carries the lowest limit of those who approved") {
  Office office;
  REQUIRE_VALUE(v1::Request request, office.book->Create(office.ana, office.Wish()));
  auto north = office.Decision(request.id(), true, "hana");
  north.set_max_rounds(50);
  REQUIRE_OK(office.book->Decide(Node("north"), north));
  auto south = office.Decision(request.id(), true, "hugo");
  south.set_max_rounds(20);
  SECTION("a holder's") {
    REQUIRE_OK(office.book->Decide(Node("south"), south));
    auto committee = office.Decision(request.id(), true);
    committee.set_max_rounds(30);
    REQUIRE_VALUE(request, office.book->Decide(office.committee, committee));
    REQUIRE_VALUE(PermitRow permit, office.permits->Get(office.ana, request.permit_id()));
    CHECK(permit.permit.max_rounds() == 20);
    REQUIRE_VALUE(v1::TrustBundle bundle, office.permits->Bundle());
    REQUIRE_VALUE(permit::TrustState trust,
                  ToTrustState(bundle, office.clock.Now(), absl::Hours(1)));
    REQUIRE_VALUE(permit::Permit claims, permit::Verify(permit.jws, trust));
    CHECK(claims.max_rounds == 20);
  }
  SECTION("not that of a holder whose dataset is not in it") {
    south.set_approve(false);
    REQUIRE_REASON(office.book->Decide(Node("south"), south), StatusCode::kInvalidArgument,
                   "LIMIT_INVALID");
    south.clear_max_rounds();
    REQUIRE_OK(office.book->Decide(Node("south"), south));
    REQUIRE_VALUE(request,
                  office.book->Decide(office.committee, office.Decision(request.id(), true)));
    REQUIRE_VALUE(PermitRow permit, office.permits->Get(office.ana, request.permit_id()));
    CHECK(permit.permit.max_rounds() == 50);
  }
  SECTION("and nothing that is no number of rounds") {
    for (int32_t wrong : {-1, 1'000'001}) {
      south.set_max_rounds(wrong);
      REQUIRE_REASON(office.book->Decide(Node("south"), south), StatusCode::kInvalidArgument,
                     "LIMIT_INVALID");
    }
  }
}

TEST_CASE("requests: when every holder refuses there is nothing left for the committee") {
  Office office;
  REQUIRE_VALUE(v1::Request request, office.book->Create(office.ana, office.Wish()));
  REQUIRE_OK(office.book->Decide(Node("north"), office.Decision(request.id(), false, "hana")));
  REQUIRE_VALUE(request,
                office.book->Decide(Node("south"), office.Decision(request.id(), false, "hugo")));
  CHECK(request.state() == v1::Request::STATE_REFUSED);
  REQUIRE_REASON(office.book->Decide(office.committee, office.Decision(request.id(), true)),
                 StatusCode::kFailedPrecondition, "REQUEST_STATE");
}

TEST_CASE("requests: nobody decides on their own, for others' data, or twice") {
  Office office;
  REQUIRE_VALUE(v1::Request request, office.book->Create(office.ana, office.Wish()));
  REQUIRE_REASON(office.book->Decide(Node("west"), office.Decision(request.id(), true, "w")),
                 StatusCode::kNotFound, "REQUEST_NOT_FOUND");
  REQUIRE_REASON(office.book->Decide(Node("north"), office.Decision(request.id(), true, "ana")),
                 StatusCode::kPermissionDenied, "OWN_REQUEST");
  REQUIRE_REASON(office.book->Decide(Person("ana", {"researcher", "committee"}),
                                     office.Decision(request.id(), true)),
                 StatusCode::kPermissionDenied, "OWN_REQUEST");
  auto foreign = office.Decision(request.id(), true, "hana");
  foreign.set_dataset(kSouth);
  REQUIRE_REASON(office.book->Decide(Node("north"), foreign), StatusCode::kPermissionDenied,
                 "NOT_YOUR_DATASET");
  auto silent = office.Decision(request.id(), false, "hana");
  silent.clear_reason();
  REQUIRE_REASON(office.book->Decide(Node("north"), silent), StatusCode::kInvalidArgument,
                 "REASON_NEEDED");
  REQUIRE_OK(office.book->Decide(Node("north"), office.Decision(request.id(), true, "hana")));
  REQUIRE_OK(office.book->Decide(Node("south"), office.Decision(request.id(), true, "hugo")));
  // The person who decided as a holder is not the committee's second pair of eyes.
  REQUIRE_REASON(
      office.book->Decide(Person("hana", {"committee"}), office.Decision(request.id(), true)),
      StatusCode::kPermissionDenied, "OWN_REQUEST");
  REQUIRE_REASON(office.book->Decide(Node("north"), office.Decision(request.id(), false, "hana")),
                 StatusCode::kFailedPrecondition, "REQUEST_STATE");
}

TEST_CASE("requests: withdrawing is the applicant's, before the decision; others do not see it") {
  Office office;
  REQUIRE_VALUE(v1::Request request, office.book->Create(office.ana, office.Wish()));
  REQUIRE_REASON(office.book->Get(Person("eve", {"researcher"}), request.id()),
                 StatusCode::kNotFound, "REQUEST_NOT_FOUND");
  REQUIRE_REASON(office.book->Withdraw(Person("eve", {"researcher"}), request.id()),
                 StatusCode::kNotFound, "REQUEST_NOT_FOUND");
  REQUIRE_VALUE(request, office.book->Withdraw(office.ana, request.id()));
  CHECK(request.state() == v1::Request::STATE_WITHDRAWN);
  REQUIRE_REASON(office.book->Withdraw(office.ana, request.id()), StatusCode::kFailedPrecondition,
                 "REQUEST_STATE");
}

TEST_CASE("requests: what is wrong with a wish is named") {
  Office office;
  auto refused = [&](v1::CreateRequestRequest wish, const std::string& field) {
    absl::Status status = office.book->Create(office.ana, wish).status();
    INFO(field << ": " << status.ToString());
    CHECK(base::ReasonOf(status) == "REQUEST_INVALID");
    CHECK(base::ErrorInfoOf(status).metadata["field"] == field);
  };
  auto wish = office.Wish();
  wish.set_purpose("DUO:0000005");  // obsolete
  refused(wish, "purpose");
  wish = office.Wish();
  wish.add_operations("download");
  refused(wish, "operations");
  wish = office.Wish();
  wish.add_datasets(kNorth);
  refused(wish, "datasets");
  wish = office.Wish();
  wish.mutable_until_time()->set_seconds(absl::ToUnixSeconds(office.clock.Now()));
  refused(wish, "untilTime");
  wish = office.Wish();
  wish.clear_title();
  refused(wish, "title");
  wish = office.Wish();
  wish.add_datasets("nodes/north/datasets/none/versions/1");
  REQUIRE_REASON(office.book->Create(office.ana, wish), StatusCode::kNotFound, "DATASET_NOT_FOUND");
}

TEST_CASE(
    "permits: revoking raises the epoch once and is in the bundle until a day after the permit "
    "would have ended") {
  Office office;
  REQUIRE_VALUE(v1::Request request, office.book->Create(office.ana, office.Wish()));
  REQUIRE_OK(office.book->Decide(Node("north"), office.Decision(request.id(), true, "hana")));
  REQUIRE_OK(office.book->Decide(Node("south"), office.Decision(request.id(), true, "hugo")));
  REQUIRE_VALUE(request,
                office.book->Decide(office.committee, office.Decision(request.id(), true)));
  REQUIRE_VALUE(PermitRow permit, office.permits->Get(office.ana, request.permit_id()));
  auto check = [&](absl::Time now) -> absl::Status {
    auto bundle = office.permits->Bundle();
    auto trust = ToTrustState(*bundle, now, absl::Minutes(5));
    return permit::Check(permit.jws, *trust,
                         {.person = "ana",
                          .operation = "train",
                          .datasets = {kNorth},
                          .node = "north",
                          .now = now})
        .status();
  };
  REQUIRE_OK(check(office.clock.Now()));
  REQUIRE_VALUE(v1::TrustBundle before, office.permits->Bundle());
  REQUIRE_REASON(office.permits->Revoke(request.permit_id(), ""), StatusCode::kInvalidArgument,
                 "REASON_NEEDED");
  REQUIRE_VALUE(int64_t epoch, office.permits->Revoke(request.permit_id(), "ended"));
  CHECK(epoch == before.epoch() + 1);
  REQUIRE_VALUE(int64_t same, office.permits->Revoke(request.permit_id(), "ended"));
  CHECK(same == epoch);
  REQUIRE_REASON(check(office.clock.Now()), StatusCode::kPermissionDenied, "PERMIT_REVOKED");
  office.clock.Advance(absl::Hours(25));
  // A site whose clock is late would still take it.
  REQUIRE_VALUE(v1::TrustBundle later, office.permits->Bundle());
  CHECK(later.revoked_permits_size() == 1);
  office.clock.Advance(absl::Hours(24));
  REQUIRE_VALUE(later, office.permits->Bundle());
  CHECK(later.revoked_permits_size() == 0);
  REQUIRE_REASON(check(office.clock.Now()), StatusCode::kPermissionDenied, "PERMIT_EXPIRED");
}

}  // namespace
}  // namespace oncomesh::access
