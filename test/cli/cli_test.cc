// SPDX-License-Identifier: Apache-2.0
#include <catch2/catch.hpp>
#include <set>
#include <string>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/time/clock.h"
#include "libs/base/files.h"
#include "libs/crypto/keys.h"
#include "libs/crypto/x509.h"
#include "libs/testing/status_matchers.h"
#include "libs/testing/temporary_folder.h"
#include "test/cli/program.h"

namespace oncomesh {
namespace {

using testing::Outcome;
using testing::Program;
using testing::Shell;

// The names below "Subcommands:" of a help text.
std::vector<std::string> Subcommands(const std::string& help) {
  std::vector<std::string> out;
  bool inside = false;
  for (absl::string_view line : absl::StrSplit(help, '\n')) {
    if (absl::StartsWith(line, "Subcommands:")) {
      inside = true;
    } else if (inside && absl::StartsWith(line, "  ") && line.size() > 2 && line[2] != ' ') {
      std::vector<std::string> words = absl::StrSplit(line, ' ', absl::SkipEmpty());
      out.push_back(words[0]);
    } else if (inside && !absl::StartsWith(line, " ")) {
      inside = false;
    }
  }
  return out;
}

void CheckHelp(const std::string& command, std::set<std::string>& seen) {
  Outcome help = Shell(absl::StrCat(Program(), " ", command, " --help 2>&1"));
  INFO("oncomesh " << command << " --help");
  CHECK(help.status == 0);
  CHECK(absl::StrContains(help.out, "Example"));
  CHECK(absl::StrContains(help.out, "oncomesh"));
  seen.insert(command);
  for (const std::string& child : Subcommands(help.out)) {
    CheckHelp(command.empty() ? child : absl::StrCat(command, " ", child), seen);
  }
}

// What bash offers when `line` is completed at its end.
std::set<std::string> Completed(const std::string& line) {
  std::vector<std::string> words = absl::StrSplit(line, ' ');
  std::string array;
  for (const std::string& word : words) absl::StrAppend(&array, "'", word, "' ");
  Outcome outcome = Shell(
      absl::StrCat("PATH=\"$(dirname ", Program(), "):$PATH\" bash -c \"source <(", Program(),
                   " completion bash); COMP_WORDS=(", array, "); COMP_CWORD=", words.size() - 1,
                   "; _oncomesh; printf '%s\\n' \\\"\\${COMPREPLY[@]}\\\"\""));
  CHECK(outcome.status == 0);
  std::set<std::string> out;
  for (absl::string_view word : absl::StrSplit(outcome.out, '\n', absl::SkipEmpty())) {
    out.emplace(word);
  }
  return out;
}

}  // namespace

TEST_CASE("cli: every command's help ends in an example") {
  std::set<std::string> seen;
  CheckHelp("", seen);
  CHECK(seen.count("synth") == 1);
  CHECK(seen.count("completion") == 1);
}

TEST_CASE("cli: wrong words end with status 2 and leave stdout empty") {
  for (const char* words :
       {"", "nonsense", "synth", "synth --out x --sites a --patients none --seed 1",
        "synth --out x --sites ../a --patients 1 --seed 1",
        "synth --out x --sites a --patients 1 --seed 1 --modality US", "completion csh"}) {
    Outcome outcome = Shell(absl::StrCat(Program(), " ", words, " 2>/dev/null"));
    INFO(words);
    CHECK(outcome.status == 2);
    CHECK(outcome.out.empty());
  }
}

TEST_CASE("cli: wrong words are told apart, with what is meant and where the help is") {
  struct Case {
    const char* words;
    const char* reason;
    const char* says;
  };
  for (const Case& wrong :
       std::vector<Case>{{"quarantne list", "COMMAND_UNKNOWN", "did you mean quarantine?"},
                         {"quarantine lst", "COMMAND_UNKNOWN", "did you mean list?"},
                         {"--quiet run wacth x", "COMMAND_UNKNOWN", "did you mean watch?"},
                         {"quarantine lst --help", "COMMAND_UNKNOWN", "did you mean list?"},
                         {"-o json nonsense", "COMMAND_UNKNOWN", "see: oncomesh --help"},
                         {"quarantine", "COMMAND_NEEDED", "list, show, release, delete"},
                         {"", "COMMAND_NEEDED", "see: oncomesh --help"},
                         {"count x --bye sex", "OPTION_UNKNOWN", "did you mean --by?"},
                         {"count x --nonsense sex", "OPTION_UNKNOWN", "see: oncomesh count --help"},
                         {"count", "USAGE", "EXPR is required"},
                         {"-o yaml status", "USAGE", "yaml"}}) {
    Outcome outcome = Shell(absl::StrCat(Program(), " ", wrong.words, " 2>&1"));
    INFO(wrong.words << "\n" << outcome.out);
    CHECK(outcome.status == 2);
    CHECK(absl::StartsWith(outcome.out, absl::StrCat("error: ", wrong.reason, ": ")));
    CHECK(absl::StrContains(outcome.out, wrong.says));
  }
  Outcome json = Shell(Program() + " count --nonsense x -o json 2>&1 >/dev/null");
  CHECK(absl::StrContains(json.out, "\n{\"error\":{\"code\":\"INVALID_ARGUMENT\""));
}

TEST_CASE("cli: without a context, and with one that cannot be used, it says what to do") {
  oncomesh::testing::TemporaryFolder folder;
  REQUIRE_OK(base::WriteFileAtomically(folder / "broken", "{\"endpoint\":"));
  REQUIRE_OK(base::WriteFileAtomically(folder / "garbage", "none"));
  REQUIRE_OK(base::WriteFileAtomically(
      folder / "ca",
      crypto::CreateAuthority(crypto::PrivateKey::Generate(crypto::KeyType::kEd25519), "mesh",
                              absl::Now() - absl::Hours(1), absl::Now() + absl::Hours(1))));
  REQUIRE_OK(base::WriteFileAtomically(
      folder / "no-pem", R"({"endpoint":"127.0.0.1:1","trustDomain":"mesh","site":"hub",)"
                         R"("caFile":"garbage","credentialFile":"garbage"})"));
  REQUIRE_OK(base::WriteFileAtomically(
      folder / "odd-token", R"({"endpoint":"127.0.0.1:1","trustDomain":"mesh","site":"hub",)"
                            R"("caFile":"ca","tokenFile":"odd"})"));
  REQUIRE_OK(base::WriteFileAtomically(folder / "odd", "a token with\x01control characters"));
  REQUIRE_OK(base::WriteFileAtomically(
      folder / "down", R"({"endpoint":"127.0.0.1:1","trustDomain":"mesh","site":"hub",)"
                       R"("caFile":"ca","credentialFile":"garbage"})"));
  REQUIRE_OK(base::WriteFileAtomically(folder / "no-ca",
                                       R"({"endpoint":"127.0.0.1:1","trustDomain":"mesh",)"
                                       R"("site":"hub","caFile":"nowhere"})"));
  struct Case {
    std::string words, reason, says;
  };
  for (const Case& wrong : std::vector<Case>{
           {"", "NO_CONTEXT", "ONCOMESH_CONTEXT"},
           {absl::StrCat("--context ", folder / "none"), "FILE_NOT_FOUND", "--context"},
           {absl::StrCat("--context ", folder.path()), "FILE_ERROR", "--context"},
           {absl::StrCat("--context ", folder / "broken"), "CONTEXT_INVALID", "JSON"},
           {absl::StrCat("--context ", folder / "no-ca"), "FILE_NOT_FOUND", "caFile"},
           {absl::StrCat("--context ", folder / "no-pem"), "CONTEXT_INVALID", "caFile"},
           {absl::StrCat("--context ", folder / "odd-token"), "TOKEN_INVALID", "token"},
           {absl::StrCat("--context ", folder / "down"), "FRONT_DOOR_UNREACHABLE", "mesh up"}}) {
    Outcome outcome =
        Shell(absl::StrCat("ONCOMESH_CONTEXT= ", Program(), " ", wrong.words, " run list 2>&1"));
    INFO(wrong.words << "\n" << outcome.out);
    CHECK(outcome.status == 1);
    CHECK(absl::StartsWith(outcome.out, absl::StrCat("error: ", wrong.reason, ": ")));
    CHECK(absl::StrContains(outcome.out, wrong.says));
  }
}

TEST_CASE("cli: a signal in the middle of the work leaves no half file") {
  oncomesh::testing::TemporaryFolder folder;
  // The pipe never ends, so the program is in the middle of the work when the signal comes.
  Outcome outcome = Shell(absl::StrCat(
      "cd ", folder.path(), " && mkfifo in && (sleep 5 > in & ", Program(),
      " deid keygen --out key >/dev/null; ", Program(),
      " deid unseal in --key key --out out & sleep 0.5; kill -TERM $!; wait $!); ls -A"));
  CHECK(outcome.out == "in\nkey\n");
}

TEST_CASE("completion: each shell that is installed accepts its script") {
  oncomesh::testing::TemporaryFolder folder;
  for (const char* shell : {"bash", "zsh", "fish"}) {
    Outcome script = Shell(absl::StrCat(Program(), " completion ", shell));
    CHECK(script.status == 0);
    CHECK(absl::StrContains(script.out, "oncomesh synth"));
    REQUIRE_OK(base::WriteFileAtomically(folder / shell, script.out));
    if (Shell(absl::StrCat("command -v ", shell)).status != 0) {
      WARN(shell << " is not installed: its completion script is not parsed");
      continue;
    }
    Outcome parsed = Shell(absl::StrCat(shell, " -n ", folder / shell, " 2>&1"));
    INFO(parsed.out);
    CHECK(parsed.status == 0);
    CHECK(parsed.out.empty());
  }
}

TEST_CASE("completion: bash completes commands, options and their values") {
  CHECK(Completed("oncomesh syn") == std::set<std::string>{"synth"});
  CHECK(Completed("oncomesh completion z") == std::set<std::string>{"zsh"});
  CHECK(Completed("oncomesh synth --mod") == std::set<std::string>{"--modality"});
  CHECK(Completed("oncomesh synth --modality ") == std::set<std::string>{"CT", "MR", "PT"});
  CHECK(Completed("oncomesh synth -o j") == std::set<std::string>{"json"});
  CHECK(Completed("oncomesh -o json syn") == std::set<std::string>{"synth"});
  CHECK(Completed("oncomesh quarantine sh") == std::set<std::string>{"show"});
  CHECK(Completed("oncomesh audit verify --si") == std::set<std::string>{"--site"});
  CHECK(Completed("oncomesh deid show res") == std::set<std::string>{"research"});
  CHECK(Completed("oncomesh count x --by se") == std::set<std::string>{"sex"});
  CHECK(Completed("oncomesh count x --by sex,topo") == std::set<std::string>{"sex,topography"});
  // Every command on the first level is offered.
  Outcome help = Shell(Program() + " --help");
  std::vector<std::string> names = Subcommands(help.out);
  CHECK(Completed("oncomesh ") == std::set<std::string>(names.begin(), names.end()));
}

TEST_CASE("synth: writes what it says and refuses to write over it") {
  oncomesh::testing::TemporaryFolder folder;
  std::string run = absl::StrCat(
      Program(), " --quiet -o json synth --sites a,b --patients 1 --seed 3 --out ", folder / "out");
  Outcome first = Shell(run);
  CHECK(first.status == 0);
  auto written = base::ListFiles(folder / "out");
  REQUIRE_OK(written);
  // phantom.json is beside what is counted.
  CHECK(absl::StrContains(first.out, absl::StrCat("\"files\": ", written->size() - 1)));
  CHECK(absl::StrContains(first.out, "\"studies\": 2"));
  Outcome again = Shell(run + " 2>&1");
  CHECK(again.status == 1);
  CHECK(absl::StrContains(again.out, "error: OUTPUT_EXISTS:"));
  CHECK(absl::StrContains(again.out, "\"reason\":\"OUTPUT_EXISTS\""));
  CHECK(Shell(run + " --force").out == first.out);
  // A folder of that name that synth did not write is never replaced.
  REQUIRE_OK(base::MakeDirectories(folder / "out/mine"));
  Outcome foreign =
      Shell(absl::StrCat(Program(), " synth --sites mine --patients 1 --seed 3 --force --out ",
                         folder / "out", " 2>&1"));
  CHECK(foreign.status == 1);
  CHECK(absl::StrContains(foreign.out, "OUTPUT_FOREIGN"));
}

}  // namespace oncomesh
