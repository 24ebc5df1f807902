// SPDX-License-Identifier: Apache-2.0
#include "tools/oncomesh/completion_commands.h"

#include <algorithm>
#include <memory>
#include <nlohmann/json.hpp>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/str_split.h"
#include "tools/oncomesh/names.h"

namespace oncomesh::cli {
namespace {

struct Word {
  std::string text;
  std::string description;
};

struct Choice {
  std::vector<std::string> names;   // "--output", "-o"
  std::vector<std::string> values;  // empty when any value will do
  std::string kind;                 // of names that a service knows; empty: none
  std::string description;
  bool takes_value = false;
  bool is_folder = false;
};

// One command of the tree.
struct Command {
  std::string path;  // "oncomesh deid run"
  std::vector<Word> commands;
  std::vector<Choice> options;
  std::vector<std::string> operands;  // what a positional argument can be, when that is known
  std::string operand_kind;           // of names that a service knows, of a positional argument
};

// The values of a check that lists them: its type reads "TEXT:{text,json}".
std::vector<std::string> ValuesOf(const CLI::Option& option) {
  std::string type = option.get_type_name();
  size_t open = type.find('{');
  size_t close = type.find('}', open);
  if (open == std::string::npos || close == std::string::npos) return {};
  return absl::StrSplit(type.substr(open + 1, close - open - 1), ',', absl::SkipEmpty());
}

// One line that no shell takes for more than text.
std::string Plain(const std::string& description) {
  return absl::StrReplaceAll(description.substr(0, description.find('\n')),
                             {{"'", "’"}, {"\\", ""}, {":", " -"}, {"`", ""}, {"$", ""}});
}

void AddOptions(const CLI::App& app, Command& command) {
  for (const CLI::Option* option : app.get_options()) {
    if (option->get_group().empty()) continue;
    if (option->get_positional()) {
      std::vector<std::string> values = ValuesOf(*option);
      command.operands.insert(command.operands.end(), values.begin(), values.end());
      if (command.operand_kind.empty()) {
        command.operand_kind = std::string(NameKind(option->get_type_name()));
      }
    }
    Choice choice;
    for (const std::string& name : option->get_lnames()) choice.names.push_back("--" + name);
    for (const std::string& name : option->get_snames()) choice.names.push_back("-" + name);
    // --help stands both in a command and in the program.
    bool known = std::any_of(
        command.options.begin(), command.options.end(),
        [&](const Choice& other) { return !choice.names.empty() && other.names == choice.names; });
    if (choice.names.empty() || known) continue;
    choice.takes_value = option->get_items_expected_max() > 0;
    choice.values = ValuesOf(*option);
    choice.kind = std::string(NameKind(option->get_type_name()));
    choice.is_folder = absl::StartsWith(option->get_type_name(), "DIR");
    choice.description = Plain(option->get_description());
    command.options.push_back(std::move(choice));
  }
}

bool Shown(const CLI::App& app) { return !app.get_group().empty() && !app.get_name().empty(); }

void Walk(const CLI::App& root, const CLI::App& app, const std::string& path,
          std::vector<Command>& out) {
  Command command;
  command.path = path;
  for (const CLI::App* child :
       app.get_subcommands([](const CLI::App* each) { return Shown(*each); })) {
    command.commands.push_back({child->get_name(), Plain(child->get_description())});
  }
  AddOptions(app, command);
  // The program's own options are understood after every command.
  if (&app != &root) AddOptions(root, command);
  out.push_back(command);
  for (const CLI::App* child :
       app.get_subcommands([](const CLI::App* each) { return Shown(*each); })) {
    Walk(root, *child, absl::StrCat(path, " ", child->get_name()), out);
  }
}

std::vector<std::string> Names(const Command& command) {
  std::vector<std::string> out;
  for (const Choice& option : command.options) {
    out.insert(out.end(), option.names.begin(), option.names.end());
  }
  return out;
}

std::vector<std::string> Texts(const Command& command) {
  std::vector<std::string> out = command.operands;
  for (const Word& word : command.commands) out.push_back(word.text);
  return out;
}

std::string Paths(const std::vector<Command>& commands) {
  return absl::StrJoin(commands, "|", [](std::string* out, const Command& command) {
    absl::StrAppend(out, "'", command.path, "'");
  });
}

std::string Bash(const std::vector<Command>& commands) {
  std::string out =
      "# bash completion for oncomesh:  source <(oncomesh completion bash)\n"
      "_oncomesh() {\n"
      "  local cur=\"${COMP_WORDS[COMP_CWORD]}\" prev=\"${COMP_WORDS[COMP_CWORD-1]}\"\n"
      "  local at=oncomesh words= options= names= i\n"
      "  local -a context=()\n"
      "  COMPREPLY=()\n"
      "  for ((i = 1; i < COMP_CWORD; i++)); do\n"
      "    [[ ${COMP_WORDS[i]} == --context ]] && context=(--context \"${COMP_WORDS[i+1]}\")\n"
      "    case \"$at ${COMP_WORDS[i]}\" in\n";
  absl::StrAppend(&out, "      ", Paths(commands), ") at=\"$at ${COMP_WORDS[i]}\" ;;\n",
                  "    esac\n  done\n  case \"$at:$prev\" in\n");
  for (const Command& command : commands) {
    for (const Choice& option : command.options) {
      if (!option.takes_value) continue;
      std::string cases = absl::StrJoin(option.names, "|", [&](std::string* to, const auto& name) {
        absl::StrAppend(to, "'", command.path, ":", name, "'");
      });
      if (!option.kind.empty()) {
        absl::StrAppend(&out, "    ", cases, ") _oncomesh_names ", option.kind, "; return ;;\n");
        continue;
      }
      std::string reply = !option.values.empty()
                              ? absl::StrCat("-W '", absl::StrJoin(option.values, " "), "'")
                              : std::string(option.is_folder ? "-d" : "-f");
      absl::StrAppend(&out, "    ", cases, ") COMPREPLY=($(compgen ", reply,
                      " -- \"$cur\")); return ;;\n");
    }
  }
  absl::StrAppend(&out, "  esac\n  case \"$at\" in\n");
  for (const Command& command : commands) {
    absl::StrAppend(&out, "    '", command.path, "') words='", absl::StrJoin(Texts(command), " "),
                    "' options='", absl::StrJoin(Names(command), " "),
                    "' names=", command.operand_kind, " ;;\n");
  }
  absl::StrAppend(&out,
                  "  esac\n"
                  "  if [[ $cur == -* ]]; then\n"
                  "    COMPREPLY=($(compgen -W \"$options\" -- \"$cur\"))\n"
                  "  elif [[ -n $names ]]; then\n"
                  "    _oncomesh_names \"$names\"\n"
                  "  elif [[ -n $words ]]; then\n"
                  "    COMPREPLY=($(compgen -W \"$words\" -- \"$cur\"))\n"
                  "  else\n"
                  "    COMPREPLY=($(compgen -f -- \"$cur\"))\n"
                  "  fi\n"
                  "}\n"
                  "# Names that a service knows, by comma; files when it knows none.\n"
                  "_oncomesh_names() {\n"
                  "  local head=\n"
                  "  [[ $cur == *,* ]] && head=\"${cur%,*},\"\n"
                  "  COMPREPLY=($(compgen -P \"$head\" -W \"$(\"${COMP_WORDS[0]}\" "
                  "\"${context[@]}\" --quiet __names \"$1\" 2>/dev/null)\" -- "
                  "\"${cur##*,}\"))\n"
                  "  ((${#COMPREPLY[@]})) || COMPREPLY=($(compgen -f -- \"$cur\"))\n"
                  "}\n"
                  "complete -o filenames -F _oncomesh oncomesh\n");
  return out;
}

std::string Zsh(const std::vector<Command>& commands) {
  std::string out =
      "#compdef oncomesh\n"
      "# zsh completion for oncomesh:  oncomesh completion zsh > \"${fpath[1]}/_oncomesh\"\n"
      "_oncomesh() {\n"
      "  local at=oncomesh previous=\"${words[CURRENT-1]}\" i\n"
      "  local names=\n"
      "  local -a subcommands options context\n"
      "  for ((i = 2; i < CURRENT; i++)); do\n"
      "    [[ ${words[i]} == --context ]] && context=(--context \"${words[i+1]}\")\n"
      "    case \"$at ${words[i]}\" in\n";
  absl::StrAppend(&out, "      ", Paths(commands), ") at=\"$at ${words[i]}\" ;;\n",
                  "    esac\n  done\n  case \"$at:$previous\" in\n");
  for (const Command& command : commands) {
    for (const Choice& option : command.options) {
      if (!option.takes_value) continue;
      std::string cases = absl::StrJoin(option.names, "|", [&](std::string* to, const auto& name) {
        absl::StrAppend(to, "'", command.path, ":", name, "'");
      });
      if (!option.kind.empty()) {
        absl::StrAppend(&out, "    ", cases, ") _oncomesh_names ", option.kind, "; return ;;\n");
        continue;
      }
      std::string reply = !option.values.empty()
                              ? absl::StrCat("compadd -- ", absl::StrJoin(option.values, " "))
                              : std::string(option.is_folder ? "_files -/" : "_files");
      absl::StrAppend(&out, "    ", cases, ") ", reply, "; return ;;\n");
    }
  }
  absl::StrAppend(&out, "  esac\n  case \"$at\" in\n");
  for (const Command& command : commands) {
    absl::StrAppend(&out, "    '", command.path, "')\n      subcommands=(");
    for (const std::string& operand : command.operands) absl::StrAppend(&out, " '", operand, "'");
    for (const Word& word : command.commands) {
      absl::StrAppend(&out, " '", word.text, ":", word.description, "'");
    }
    absl::StrAppend(&out, " )\n      options=(");
    for (const Choice& option : command.options) {
      for (const std::string& name : option.names) {
        absl::StrAppend(&out, " '", name, ":", option.description, "'");
      }
    }
    absl::StrAppend(&out, " )\n      names=", command.operand_kind, " ;;\n");
  }
  absl::StrAppend(&out,
                  "  esac\n"
                  "  if [[ ${words[CURRENT]} == -* ]]; then\n"
                  "    _describe -o option options\n"
                  "  elif [[ -n $names ]]; then\n"
                  "    _oncomesh_names \"$names\"\n"
                  "  elif (( ${#subcommands} )); then\n"
                  "    _describe command subcommands\n"
                  "  else\n"
                  "    _files\n"
                  "  fi\n"
                  "}\n"
                  "_oncomesh_names() {\n"
                  "  local -a found\n"
                  "  found=(${(f)\"$(\"${words[1]}\" $context --quiet __names $1 2>/dev/null)\"})\n"
                  "  compset -P '*,'\n"
                  "  (( ${#found} )) && compadd -a found || _files\n"
                  "}\n"
                  "if [[ \"${funcstack[1]}\" == _oncomesh ]]; then\n"
                  "  _oncomesh \"$@\"\n"
                  "else\n"
                  "  compdef _oncomesh oncomesh\n"
                  "fi\n");
  return out;
}

std::string Fish(const std::vector<Command>& commands) {
  std::string all = absl::StrJoin(commands, " ", [](std::string* to, const Command& command) {
    absl::StrAppend(to, "'", command.path, "'");
  });
  std::string out = absl::StrCat(
      "# fish completion for oncomesh:  oncomesh completion fish | source\n"
      "function __oncomesh_at\n"
      "  set -l at oncomesh\n"
      "  for word in (commandline -opc)[2..-1]\n"
      "    if contains -- \"$at $word\" ",
      all,
      "\n"
      "      set at \"$at $word\"\n"
      "    end\n"
      "  end\n"
      "  test \"$at\" = \"$argv\"\n"
      "end\n"
      "function __oncomesh_names\n"
      "  set -l given (commandline -opc)\n"
      "  set -l context\n"
      "  if set -l place (contains -i -- --context $given)\n"
      "    set context --context $given[(math $place + 1)]\n"
      "  end\n"
      "  set -l head (string match -r '^.*,' -- (commandline -ct))\n"
      "  for name in ($given[1] $context --quiet __names $argv 2>/dev/null)\n"
      "    echo $head$name\n"
      "  end\n"
      "end\n");
  for (const Command& command : commands) {
    std::string start = absl::StrCat("complete -c oncomesh -n '__oncomesh_at ", command.path, "'");
    if (!command.operand_kind.empty()) {
      absl::StrAppend(&out, start, " -a '(__oncomesh_names ", command.operand_kind, ")'\n");
    }
    for (const std::string& operand : command.operands) {
      absl::StrAppend(&out, start, " -f -a '", operand, "'\n");
    }
    for (const Word& word : command.commands) {
      absl::StrAppend(&out, start, " -f -a '", word.text, "' -d '", word.description, "'\n");
    }
    for (const Choice& option : command.options) {
      absl::StrAppend(&out, start);
      for (const std::string& name : option.names) {
        absl::StrAppend(&out, name[1] == '-' ? " -l " : " -s ",
                        name.substr(name[1] == '-' ? 2 : 1));
      }
      if (!option.values.empty()) {
        absl::StrAppend(&out, " -x -a '", absl::StrJoin(option.values, " "), "'");
      } else if (!option.kind.empty()) {
        absl::StrAppend(&out, " -r -a '(__oncomesh_names ", option.kind, ")'");
      } else if (option.is_folder) {
        absl::StrAppend(&out, " -x -a '(__fish_complete_directories)'");
      } else if (option.takes_value) {
        absl::StrAppend(&out, " -r");
      }
      absl::StrAppend(&out, " -d '", option.description, "'\n");
    }
  }
  return out;
}

}  // namespace

std::string CompletionScript(const CLI::App& app, absl::string_view shell) {
  std::vector<Command> commands;
  Walk(app, app, "oncomesh", commands);
  if (shell == "zsh") return Zsh(commands);
  if (shell == "fish") return Fish(commands);
  return Bash(commands);
}

void AddCompletionCommands(CLI::App& app, Session& session) {
  auto* completion = app.add_subcommand("completion", "print a completion script for your shell");
  auto shell = std::make_shared<std::string>();
  completion->add_option("shell", *shell, "bash, zsh or fish")
      ->required()
      ->check(CLI::IsMember({"bash", "zsh", "fish"}));
  completion->footer("Example: source <(oncomesh completion bash)");
  OnRun(completion, session, [shell, &app, &session]() -> absl::StatusOr<int> {
    std::string script = CompletionScript(app, *shell);
    // The script is the result, in JSON too.
    session.Print({{"shell", *shell}, {"script", script}}, script);
    return kDone;
  });
}

}  // namespace oncomesh::cli
