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
  for (const char* common : {"--context", "-o", "--quiet"}) {
    CHECK(absl::StrContains(help.out, common));
  }
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

TEST_CASE("cli: every command's help ends in an example and tells of the common options") {
  std::set<std::string> seen;
  CheckHelp("", seen);
  CHECK(seen.count("synth") == 1);
  CHECK(seen.count("completion") == 1);
}

TEST_CASE("cli: wrong words end with status 2 and leave stdout empty") {
  for (const char* words :
       {"",
        "nonsense",
        "synth",
        "synth --out x --sites a --patients none --seed 1",
        "synth --out x --sites ../a --patients 1 --seed 1",
        "synth --out x --sites a --patients 1 --seed 1 --modality US",
        "completion csh",
        "synth --out x --sites a,a --patients 1 --seed 1",
        "access decide req-1",
        "access decide req-1 --approve --refuse",
        "access request --datasets d --purpose p --title t --operations count --until tomorrow",
        "audit prove ''",
        "count 'age >='",
        "up --dir x --nodes A",
        "up --dir x --nodes aa,aa",
        "deid check --in x --manifest x --source x",
        "deid check --in x --manifest x --public-key short",
        "deid run --in x --out x --key x --project ''",
        "image convert --series x --out x.png",
        "image resample --in x --out y.nii",
        "image resample --in x --out y.nii --spacing 0,1,1",
        "image n4 --in x --out y.nii --iterations abc",
        "image n4 --in x --out y.nii --iterations 50x-1",
        "image n4 --in x --out y.nii --convergence 2",
        "image n4 --in x --out y.nii --spline-distance 0",
        "image normalise --method zscore --in a.nii b.nii --out x --mask m.nii",
        "image normalise --method zscore --in a/c.nii b/c.nii --out x",
        "image normalise --method percentile --in a.nii --out x --percentiles 99,1",
        "image prepare --in x --out x --modality CT --n4 MR",
        "image prepare --in x --out x --spacing 0,1,1"}) {
    Outcome outcome = Shell(absl::StrCat(Program(), " ", words, " 2>/dev/null"));
    INFO(words);
    CHECK(outcome.status == 2);
    CHECK(outcome.out.empty());
  }
  CHECK(Shell("ls -d x 2>/dev/null").out.empty());
}

TEST_CASE("cli: a file that cannot be used is told by the option that names it, not by its path") {
  oncomesh::testing::TemporaryFolder folder;
  REQUIRE_OK(base::WriteFileAtomically(folder / "secret.nii", "no image"));
  struct Case {
    std::string words, says;
  };
  const std::string dir = folder.path();
  for (const Case& wrong : std::vector<Case>{
           {"image convert --series " + dir + "/secret --out " + dir + "/o.nii", "--series: "},
           {"image mask --source " + dir + "/secret --roi R --series " + dir + " --out " + dir +
                "/o.nii",
            "--source: "},
           {"image quality --in " + dir + "/secret.nii --mask " + dir + "/secret", "--in: "},
           {"image normalise --method zscore --in " + dir + "/a.nii " + dir + "/secret.nii --out " +
                dir + "/o",
            "image 1 of --in: "},
           {"image prepare --in " + dir + " " + dir + "/secret --out " + dir + "/o",
            "path 2 of --in: "},
           {"deid run --in " + dir + " --out " + dir + "/o --key " + dir + "/secret --project p",
            "--key: "},
           {"--context " + dir + "/x ingest " + dir + " " + dir + "/secret", "PATH 2: "}}) {
    Outcome outcome = Shell(absl::StrCat(Program(), " --quiet ", wrong.words, " 2>&1"));
    INFO(wrong.words << "\n" << outcome.out);
    CHECK(outcome.status == 1);
    CHECK(absl::StrContains(outcome.out, wrong.says));
    CHECK_FALSE(absl::StrContains(outcome.out, "secret"));
  }
}

TEST_CASE("a service that has no configuration says which file it looked for") {
  for (const char* service :
       {"access", "catalogue", "deidentification", "harmonisation", "relay", "training"}) {
    const std::string program = Program();
    Outcome outcome = Shell(absl::StrCat(program.substr(0, program.size() - 1), "-", service,
                                         "' --role=node --config=/nonexistent.json 2>&1"));
    INFO(outcome.out);
    CHECK(outcome.status != 0);
    CHECK(absl::StrContains(outcome.out, "FILE_NOT_FOUND: the configuration /nonexistent.json: "));
  }
}

TEST_CASE("cli: an output that is there is called the same by every command") {
  oncomesh::testing::TemporaryFolder folder;
  const std::string dir = folder.path();
  REQUIRE(Shell(absl::StrCat(Program(), " deid keygen --out ", dir, "/key")).status == 0);
  REQUIRE_OK(base::WriteFileAtomically(folder / "o.nii", "taken"));
  for (const std::string& words :
       {absl::StrCat("deid keygen --out ", dir, "/key"),
        absl::StrCat("image resample --in x --spacing 1,1,1 --out ", dir, "/o.nii")}) {
    Outcome outcome = Shell(absl::StrCat(Program(), " ", words, " 2>&1"));
    INFO(words << "\n" << outcome.out);
    CHECK(outcome.status == 1);
    CHECK(absl::StartsWith(outcome.out, "error: OUTPUT_EXISTS: "));
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
  // The pipe never ends, and the unfinished output is there, so the program is in the middle of the
  // work when the signal comes.
  Outcome outcome = Shell(absl::StrCat(
      "cd ", folder.path(), " && mkfifo in && (sleep 60 > in & writer=$!; ", Program(),
      " deid keygen --out key >/dev/null; ", Program(),
      " deid unseal in --key key --out out & program=$!; ",
      "for i in $(seq 600); do ls -A | grep -q '^[.]part-' && break; sleep 0.05; done; ",
      "ls -A | grep -c '^[.]part-'; kill -TERM $program; wait $program; kill $writer); ls -A"));
  CHECK(outcome.out == "1\nin\nkey\n");
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
