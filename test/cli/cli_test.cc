// SPDX-License-Identifier: Apache-2.0
#include <sys/wait.h>

#include <catch2/catch.hpp>
#include <cstdio>
#include <cstdlib>
#include <set>
#include <string>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "libs/base/files.h"
#include "libs/testing/status_matchers.h"
#include "libs/testing/temporary_folder.h"

namespace oncomesh {
namespace {

struct Outcome {
  int status;
  std::string out;  // stdout and, when the command says so, stderr
};

Outcome Shell(const std::string& command) {
  FILE* pipe = popen(command.c_str(), "r");
  REQUIRE(pipe != nullptr);
  Outcome outcome;
  char buffer[4096];
  size_t got;
  while ((got = fread(buffer, 1, sizeof buffer, pipe)) > 0) outcome.out.append(buffer, got);
  int status = pclose(pipe);
  outcome.status = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  return outcome;
}

std::string Program() {
  const char* folder = std::getenv("ONCOMESH_BINARY_DIR");
  return absl::StrCat("'", folder != nullptr ? folder : ".", "/bin/oncomesh'");
}

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
  Outcome outcome =
      Shell(absl::StrCat("bash -c \"source <(", Program(), " completion bash); COMP_WORDS=(", array,
                         "); COMP_CWORD=", words.size() - 1,
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
