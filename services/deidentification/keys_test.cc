// SPDX-License-Identifier: Apache-2.0
#include "services/deidentification/keys.h"

#include <sys/stat.h>

#include <catch2/catch.hpp>
#include <filesystem>

#include "absl/strings/escaping.h"
#include "libs/base/files.h"
#include "libs/testing/status_matchers.h"
#include "libs/testing/temporary_folder.h"
#include "services/deidentification/release_store.h"
#include "services/deidentification/wire.h"

namespace oncomesh::deidentification {
namespace {

std::string CountingKey() {
  std::string out;
  for (int i = 0; i < 32; ++i) out.push_back(static_cast<char>(i));
  return out;
}

// Vectors of doc/formats/manifest.md, from Python's hmac (test/conformance/deid_vectors.py).
TEST_CASE("keys: pseudonyms are those of the format's vectors", "[deidentification]") {
  Keys keys(CountingKey());
  CHECK(keys.Uid("1.2.3.4.5.6") == "2.25.55746253965484992032305420515396266318");
  CHECK(keys.PatientCode(Keys::Patient("PAT-001", "")) == "BRZ367K65CUG27OM");
  CHECK(keys.PatientCode(Keys::Patient("PAT-001", "HOSP")) == "QWHHPUAI5YZ4CQUI");
  CHECK(keys.AccessionCode("A1") == "KSMA552SIHKXK2R6");
  CHECK(keys.DeviceCode("SN1") == "FXBMRW6LYL5VOOXZ");
  CHECK(keys.DateOffsetDays("PAT-001") == -2611);
  CHECK(keys.KeyId() == "7c3028bc85e2e14b");
  CHECK(absl::BytesToHexString(keys.QuarantineKey()) ==
        "e391ad47f4a2f09c0d80c03bf1ac081957f03f89e89aaca12aaaae9796868e2a");
}

TEST_CASE("keys: another key links nothing, and offsets are whole weeks of one to ten years",
          "[deidentification]") {
  Keys a(std::string(32, 'a')), b(std::string(32, 'b'));
  CHECK(a.PatientCode("x") != b.PatientCode("x"));
  CHECK(a.Uid("1.2") != b.Uid("1.2"));
  for (int i = 0; i < 1000; ++i) {
    int days = a.DateOffsetDays(std::to_string(i));
    CHECK(days % 7 == 0);
    CHECK(days <= -364);
    CHECK(days >= -7 * 520);
    CHECK(a.Uid(std::to_string(i)).size() <= 44);
  }
}

TEST_CASE("keys: a key file of any other size is refused", "[deidentification]") {
  testing::TemporaryFolder folder;
  for (const std::string& content :
       {std::string(), std::string(16, 'k'), std::string(31, 'k'), std::string(33, 'k'),
        std::string(63, 'a'), std::string(64, 'g'), std::string(128, 'a')}) {
    REQUIRE_OK(base::WriteFileAtomically(folder / "key", content));
    REQUIRE_REASON(ReadKeyFile(folder / "key"), absl::StatusCode::kInvalidArgument, "KEY_INVALID");
  }
  REQUIRE_REASON(ReadKeyFile(folder / "none"), absl::StatusCode::kNotFound, "KEY_NOT_FOUND");
  REQUIRE_OK(base::WriteFileAtomically(folder / "raw", CountingKey()));
  REQUIRE_OK(
      base::WriteFileAtomically(folder / "hex", absl::BytesToHexString(CountingKey()) + "\n"));
  REQUIRE_VALUE(std::string raw, ReadKeyFile(folder / "raw"));
  REQUIRE_VALUE(std::string hex, ReadKeyFile(folder / "hex"));
  CHECK(raw == hex);
  CHECK(raw == CountingKey());
}

TEST_CASE("key: a node makes one at its first start, and never silently a second",
          "[deidentification]") {
  testing::TemporaryFolder folder;
  const std::string path = folder / "project.key";
  REQUIRE_VALUE(auto store, ReleaseStore::Open("sqlite:" + (folder / "state.db"), ""));
  REQUIRE_VALUE(std::string key, ProjectKey(path, *store));
  REQUIRE_VALUE(std::string again, ProjectKey(path, *store));
  CHECK(again == key);
  // Nothing was made with it yet, but it is the state's key.
  REQUIRE_OK(store->AddReleased({{std::string(64, 'a'), ObjectKind::kDicom}}, absl::Now()));
  REQUIRE_VALUE(std::string file, base::ReadFile(path));
  REQUIRE(std::filesystem::remove(path));
  REQUIRE_REASON(ProjectKey(path, *store), absl::StatusCode::kFailedPrecondition, "KEY_MISSING");
  CHECK_FALSE(std::filesystem::exists(path));
  REQUIRE_OK(base::WriteFileAtomically(path, NewKeyFile(base::SystemRandom::Get()), 0600));
  REQUIRE_REASON(ProjectKey(path, *store), absl::StatusCode::kFailedPrecondition, "KEY_CHANGED");
  REQUIRE_OK(base::WriteFileAtomically(path, file, 0600));
  REQUIRE_VALUE(std::string restored, ProjectKey(path, *store));
  CHECK(restored == key);
  // What is only in quarantine does not open with another key either.
  REQUIRE_VALUE(auto other, ReleaseStore::Open("sqlite:" + (folder / "other.db"), ""));
  REQUIRE_OK(other->AddQuarantined({0, "q-1", ObjectKind::kDicom, "NOT_DICOM", 1, absl::Now()}));
  REQUIRE(std::filesystem::remove(path));
  REQUIRE_REASON(ProjectKey(path, *other), absl::StatusCode::kFailedPrecondition, "KEY_MISSING");
}

}  // namespace
}  // namespace oncomesh::deidentification
