// SPDX-License-Identifier: Apache-2.0
// The commands that need a mesh, on a real one with two nodes.
#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "libs/base/files.h"
#include "libs/testing/status_matchers.h"
#include "libs/testing/temporary_folder.h"
#include "test/cli/program.h"

namespace oncomesh {
namespace {

using nlohmann::json;
using testing::Outcome;
using testing::Program;
using testing::Shell;

class Mesh {
 public:
  Mesh() {
    Outcome up = Shell(absl::StrCat(Program(), " --quiet up --dir ", dir(),
                                    " --nodes north,south --detach -o json"));
    REQUIRE(up.status == 0);
    REQUIRE(json::parse(up.out)["nodes"] == json({"north", "south"}));
  }
  ~Mesh() { Down(); }
  int Down() { return Shell(absl::StrCat(Program(), " --quiet down --dir ", dir())).status; }

  std::string dir() const { return folder_ / "mesh"; }
  std::string Scratch(const std::string& name) const { return folder_ / name; }

  // stdout and stderr together.
  Outcome As(const std::string& who, const std::string& words) const {
    return Shell(absl::StrCat("timeout 60 ", Program(), " --context ", dir(), "/contexts/", who,
                              ".json ", words, " 2>&1"));
  }
  // The one document of a command that ends with `status`.
  json Ask(const std::string& who, const std::string& words, int status = 0) const {
    Outcome outcome = Shell(absl::StrCat("timeout 60 ", Program(), " --quiet -o json --context ",
                                         dir(), "/contexts/", who, ".json ", words));
    INFO(words << "\n" << outcome.out);
    CHECK(outcome.status == status);
    json document = json::parse(outcome.out, nullptr, false);
    REQUIRE_FALSE(document.is_discarded());
    return document;
  }

 private:
  testing::TemporaryFolder folder_;
};

TEST_CASE("mesh: what a person can do with it, and what it says to mistakes") {
  Mesh mesh;
  REQUIRE_OK(base::WriteFileAtomically(mesh.Scratch("junk"), std::string(1000, '\xf7')));
  const std::string junk = mesh.Scratch("junk");

  // A quarantined object: listed, shown with advice, not released, deleted.
  json counts = mesh.Ask("holder-north", "ingest " + junk);
  CHECK(counts["objects"] ==
        json({{"read", 1}, {"released", 0}, {"quarantined", 1}, {"failed", 0}}));
  // What was sent can be counted at once, and the node says what its index holds.
  REQUIRE(Shell(absl::StrCat(Program(), " --quiet synth --sites north --patients 1 --seed 3 --out ",
                             mesh.Scratch("phantom")))
              .status == 0);
  CHECK(counts["index"] ==
        json({{"patients", 0}, {"studies", 0}, {"series", 0}, {"objects", 0}, {"unreadable", 0}}));
  counts = mesh.Ask("holder-north", "ingest " + mesh.Scratch("phantom/north"));
  CHECK(counts["index"]["patients"] == 1);
  CHECK(counts["index"]["objects"] == counts["objects"]["released"]);
  CHECK(counts["index"]["unreadable"] == 0);
  json listed = mesh.Ask("holder-north", "quarantine list")["objects"];
  REQUIRE(listed.size() == 1);
  const std::string id = listed[0]["id"];
  json shown = mesh.Ask("holder-north", "quarantine show " + id);
  CHECK(shown["reason"] == "NOT_DICOM");
  CHECK(shown["bytes"] == 1000);
  CHECK_FALSE(shown["advice"].get<std::string>().empty());
  Outcome stays = mesh.As("holder-north", "quarantine release --pixels-checked " + id);
  CHECK(stays.status == 1);
  CHECK(absl::StrContains(stays.out, "error: NOT_DICOM: "));
  Outcome names = mesh.As("holder-north", "__names QUARANTINED");
  CHECK(names.out == id + "\n");
  CHECK(mesh.Ask("holder-north", "quarantine delete " + id)["deleted"] == true);
  CHECK(absl::StrContains(mesh.As("holder-north", "quarantine show " + id).out,
                          "error: QUARANTINE_NOT_FOUND: "));

  // Every service and node.
  json status = mesh.Ask("operator", "status");
  CHECK(status["services"].size() == 16);
  for (const json& service : status["services"]) {
    CHECK(service["state"] == "SERVING");
    for (const char* field : {"version", "address", "certificateEnd", "lastSeen"}) {
      INFO(service.dump());
      CHECK(service.contains(field));
    }
  }
  CHECK(status["nodes"].size() == 2);
  CHECK(mesh.As("operator", "__names SITE").out == "hub\nnorth\nsouth\n");

  // Whose mistake ends with 1 was refused by somebody; wrong words, which nobody was asked about,
  // end with 2.
  struct Case {
    std::string who, words, reason;
    int status = 1;
  };
  for (const Case& wrong : std::vector<Case>{
           {"researcher", "ingest " + junk, "METHOD_UNKNOWN"},
           {"holder-north", "count 'modality = \"CT\"'", "METHOD_UNKNOWN"},
           {"researcher", "count 'modality = \"CT'", "EXPRESSION_INVALID", 2},
           {"researcher", "count @" + mesh.Scratch("none"), "FILE_NOT_FOUND"},
           {"researcher", "count 'modality = \"CT\"' --nodes nowhere", "NODE_UNKNOWN"},
           {"researcher", "permit verify " + junk, "PERMIT_INVALID"},
           {"researcher", "permit show none", "PERMIT_NOT_FOUND"},
           {"researcher", "run submit " + junk + " --permit none", "PLAN_INVALID"},
           {"researcher", "run watch none", "RUN_NOT_FOUND"},
           {"researcher", "access withdraw none", "REQUEST_NOT_FOUND"},
           {"researcher", "access decide none --approve", "ROLE_NEEDED"},
           {"committee", "access decide none", "DECISION_NEEDED", 2},
           {"committee", "access decide none --refuse", "REASON_NEEDED"},
           {"researcher", "datasets show 'nodes/north/datasets/\xf7'", "TEXT_INVALID"},
           {"operator", "node invite North", "NODE_NAME_INVALID"},
           {"operator", "node invite north", "NODE_EXISTS"},
           {"holder-north", "policy set " + junk, "POLICY_INVALID"},
           {"auditor", "audit prove 99999", "EVENT_NOT_FOUND"},
           {"auditor", "audit verify --site nowhere", "SITE_UNKNOWN"}}) {
    Outcome outcome = mesh.As(wrong.who, wrong.words);
    INFO(wrong.words << "\n" << outcome.out);
    CHECK(outcome.status == wrong.status);
    CHECK(absl::StartsWith(outcome.out, absl::StrCat("error: ", wrong.reason, ": ")));
  }
  for (const auto& [person, reads] : {std::pair{"auditor", true}, {"researcher", false}}) {
    json verified = mesh.Ask(person, "audit verify --site north");
    CHECK(verified["verified"] == true);
    CHECK(verified["eventsRead"] == reads);
  }
  CHECK(mesh.Ask("auditor", "audit prove 0")["verified"] == true);
  CHECK(absl::StrContains(mesh.Ask("operator", "node invite east")["expireTime"].dump(), "T"));

  Outcome other =
      Shell(absl::StrCat(Program(), " up --dir ", mesh.dir(), " --nodes east,west --detach 2>&1"));
  CHECK(other.status == 1);
  CHECK(absl::StrContains(other.out, "error: MESH_EXISTS: "));

  CHECK(mesh.Down() == 0);
  json stopped = mesh.Ask("operator", "status", 3);
  for (const json& service : stopped["services"]) CHECK(service["state"] == "STOPPED");
}

}  // namespace
}  // namespace oncomesh
