// SPDX-License-Identifier: Apache-2.0
#include "tools/oncomesh/usage.h"

#include <algorithm>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"
#include "tools/oncomesh/session.h"

namespace oncomesh::cli {
namespace {

// Edits between two words, a swap of neighbours being one (optimal string alignment).
size_t Distance(const std::string& a, const std::string& b) {
  std::vector<std::vector<size_t>> d(a.size() + 1, std::vector<size_t>(b.size() + 1));
  for (size_t i = 0; i <= a.size(); ++i) d[i][0] = i;
  for (size_t j = 0; j <= b.size(); ++j) d[0][j] = j;
  for (size_t i = 1; i <= a.size(); ++i) {
    for (size_t j = 1; j <= b.size(); ++j) {
      size_t same = a[i - 1] == b[j - 1] ? 0 : 1;
      d[i][j] = std::min({d[i - 1][j] + 1, d[i][j - 1] + 1, d[i - 1][j - 1] + same});
      if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1]) {
        d[i][j] = std::min(d[i][j], d[i - 2][j - 2] + 1);
      }
    }
  }
  return d[a.size()][b.size()];
}

std::vector<std::string> Commands(const CLI::App& app) {
  std::vector<std::string> out;
  for (const CLI::App* child : app.get_subcommands([](const CLI::App*) { return true; })) {
    if (!child->get_group().empty()) out.push_back(child->get_name());
  }
  return out;
}

std::vector<std::string> Options(const CLI::App& root, const CLI::App& app) {
  std::vector<std::string> out;
  for (const CLI::App* level : {&app, &root}) {
    for (const CLI::Option* option : level->get_options()) {
      for (const std::string& name : option->get_lnames()) out.push_back("--" + name);
      for (const std::string& name : option->get_snames()) out.push_back("-" + name);
    }
  }
  std::sort(out.begin(), out.end());
  out.erase(std::unique(out.begin(), out.end()), out.end());
  return out;
}

const CLI::Option* FindOption(const CLI::App& app, const std::string& name) {
  return app.get_option_no_throw(name);
}

// The option that `word` names, its value cut off: "--title=x" → "--title", "-ojson" → "-o".
std::string OptionName(const std::string& word) {
  if (absl::StartsWith(word, "--")) return word.substr(0, word.find('='));
  return word.substr(0, 2);
}

// Where reading the words comes to a stop.
struct Place {
  const CLI::App* app;  // the last command that was understood
  std::string path;     // "oncomesh deid run"
  std::string command;  // a word that is no command where one must stand
  std::string option;   // a word that is no option
};

Place Follow(const CLI::App& root, const std::vector<std::string>& words) {
  Place place{&root, root.get_name(), "", ""};
  for (size_t i = 0; i < words.size(); ++i) {
    const std::string& word = words[i];
    if (word == "--") break;
    if (word.size() > 1 && word[0] == '-') {
      const std::string name = OptionName(word);
      const CLI::Option* option = FindOption(*place.app, name);
      if (option == nullptr) option = FindOption(root, name);
      if (option == nullptr) {
        // A negative number may be a value.
        if (place.option.empty() && !absl::ascii_isdigit(static_cast<unsigned char>(word[1]))) {
          place.option = name;
        }
        continue;
      }
      // Its value stands in the next word; more of them cannot be commands either, as options of
      // several values stand in commands that have no others below them.
      bool attached = word.size() > name.size();
      if (option->get_items_expected_max() > 0 && !attached) ++i;
      continue;
    }
    const std::vector<std::string> commands = Commands(*place.app);
    if (commands.empty()) continue;
    if (std::find(commands.begin(), commands.end(), word) == commands.end()) {
      place.command = word;
      break;
    }
    place.app = place.app->get_subcommand(word);
    absl::StrAppend(&place.path, " ", word);
  }
  return place;
}

std::string DidYouMean(const std::string& word, const std::vector<std::string>& candidates) {
  std::string nearest = Nearest(word, candidates);
  return nearest.empty() ? "" : absl::StrCat("; did you mean ", nearest, "?");
}

}  // namespace

std::string Nearest(const std::string& word, const std::vector<std::string>& candidates) {
  if (word.size() < 2 || word.size() > 64) return "";
  std::string best;
  size_t least = std::min<size_t>(2, word.size() / 2) + 1;
  bool several = false;
  for (const std::string& candidate : candidates) {
    size_t distance = absl::StartsWith(candidate, word) ? 1 : Distance(word, candidate);
    if (distance > least || (distance == least && best.empty())) continue;
    several = distance == least;
    least = distance;
    best = candidate;
  }
  return several ? "" : best;
}

bool NamesNoCommand(const CLI::App& app, const std::vector<std::string>& words) {
  return !Follow(app, words).command.empty();
}

bool WantsJson(const std::vector<std::string>& words) {
  for (size_t i = 0; i < words.size(); ++i) {
    if (words[i] == "-ojson" || words[i] == "--output=json" || words[i] == "-o=json") return true;
    if ((words[i] == "-o" || words[i] == "--output") && i + 1 < words.size() &&
        words[i + 1] == "json") {
      return true;
    }
  }
  return false;
}

absl::Status UsageError(const CLI::App& app, const std::vector<std::string>& words,
                        const CLI::ParseError& error) {
  Place place = Follow(app, words);
  const std::string help = absl::StrCat("; see: ", place.path, " --help");
  auto wrong = [](absl::string_view reason, const std::string& message) {
    return WrongUsage(reason, message);
  };
  const std::vector<std::string> commands = Commands(*place.app);
  if (!place.command.empty()) {
    return wrong("COMMAND_UNKNOWN",
                 absl::StrCat("`", place.path, "` has no command '", place.command, "'",
                              DidYouMean(place.command, commands), help));
  }
  if (!commands.empty()) {
    return wrong("COMMAND_NEEDED",
                 absl::StrCat("say what to do: ", absl::StrJoin(commands, ", "), help));
  }
  if (!place.option.empty()) {
    return wrong("OPTION_UNKNOWN",
                 absl::StrCat("`", place.path, "` has no option ", place.option,
                              DidYouMean(place.option, Options(app, *place.app)), help));
  }
  std::string what = absl::StrReplaceAll(error.what(), {{"\n", " "}});
  return wrong("USAGE", absl::StrCat(what, help));
}

}  // namespace oncomesh::cli
