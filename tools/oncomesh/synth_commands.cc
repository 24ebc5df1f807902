// SPDX-License-Identifier: Apache-2.0
#include "tools/oncomesh/synth_commands.h"

#include <cstdint>
#include <filesystem>
#include <memory>
#include <nlohmann/json.hpp>
#include <set>
#include <string>
#include <system_error>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "libs/base/error.h"
#include "libs/base/files.h"
#include "libs/base/status_macros.h"
#include "libs/phantom/generator.h"
#include "tools/oncomesh/interrupt.h"

namespace oncomesh::cli {
namespace {

namespace fs = std::filesystem;

// Sites are made here and moved to their names when all are complete.
constexpr char kPartial[] = ".synth-partial";
constexpr char kDescription[] = "phantom.json";

struct Options {
  std::string out;
  phantom::Plan plan;
  std::vector<std::string> modalities = {"CT"};
  bool force = false;
};

// Removes the unfinished work below `out`, however the command ends, and `out` itself when it was
// made for nothing.
class PartialFolder {
 public:
  explicit PartialFolder(const std::string& out)
      : out_(out), path_(absl::StrCat(out, "/", kPartial)) {
    std::error_code ignored;
    made_ = !fs::exists(out_, ignored);
    fs::remove_all(path_, ignored);
  }
  ~PartialFolder() {
    std::error_code ignored;
    fs::remove_all(path_, ignored);
    if (made_) fs::remove(out_, ignored);  // stays when something is in it
  }
  PartialFolder(const PartialFolder&) = delete;
  PartialFolder& operator=(const PartialFolder&) = delete;
  const std::string& path() const { return path_; }

 private:
  std::string out_, path_;
  bool made_;
};

absl::Status DiskStatus(const std::error_code& error, absl::string_view what) {
  return error ? base::ErrnoStatus(error.value(), what) : absl::OkStatus();
}

// The sites that an earlier run wrote below `out`, by its description; none when there is none.
std::set<std::string> EarlierSites(const std::string& out) {
  std::set<std::string> sites;
  auto content = base::ReadFile(absl::StrCat(out, "/", kDescription), 16 << 20);
  if (!content.ok()) return sites;
  auto document = nlohmann::json::parse(*content, nullptr, /*allow_exceptions=*/false);
  if (!document.is_object() || !document.contains("sites") || !document["sites"].is_array()) {
    return sites;
  }
  for (const auto& site : document["sites"]) {
    if (!site.is_object() || !site.contains("name") || !site["name"].is_string()) continue;
    std::string name = site["name"].get<std::string>();
    // A name is followed into a folder that is then removed: only names that synth gives.
    if (phantom::IsSiteName(name)) sites.insert(name);
  }
  return sites;
}

// Refuses to write over anything but an earlier run's sites, and over those only with --force.
absl::Status CheckOutput(const Options& options, const std::set<std::string>& earlier) {
  std::error_code error;
  fs::file_status status = fs::status(options.out, error);
  if (!fs::exists(status)) return absl::OkStatus();
  if (!fs::is_directory(status)) {
    return base::Error(absl::StatusCode::kFailedPrecondition, "OUTPUT_NOT_A_FOLDER",
                       "--out names something that is not a folder; give another name");
  }
  fs::directory_iterator entries(options.out, error);
  RETURN_IF_ERROR(DiskStatus(error, "reading the output folder"));
  bool empty = true;
  for (const fs::directory_entry& entry : entries) {
    empty = empty && entry.path().filename() == kPartial;
  }
  if (!empty && !options.force) {
    return base::Error(absl::StatusCode::kAlreadyExists, "OUTPUT_EXISTS",
                       "the output folder is not empty; give another one, or --force to replace "
                       "what an earlier synth wrote there");
  }
  for (const std::string& site : options.plan.sites) {
    if (earlier.count(site) == 0 && fs::exists(absl::StrCat(options.out, "/", site), error)) {
      return base::Error(absl::StatusCode::kFailedPrecondition, "OUTPUT_FOREIGN",
                         "the output folder holds a folder of that site's name that synth did not "
                         "write; move it away or give another --out",
                         {{"site", site}});
    }
  }
  return absl::OkStatus();
}

absl::Status Rename(const std::string& from, const std::string& to) {
  std::error_code error;
  fs::rename(from, to, error);
  return DiskStatus(error, "moving a finished site to its name");
}

absl::Status Publish(const Options& options, const std::set<std::string>& earlier,
                     const PartialFolder& partial,
                     const std::vector<phantom::SiteResult>& results) {
  // Old sites go into the folder that is removed at the end.
  RETURN_IF_ERROR(base::MakeDirectories(absl::StrCat(partial.path(), "/old")));
  for (const std::string& site : earlier) {
    std::string path = absl::StrCat(options.out, "/", site);
    std::error_code error;
    if (!fs::is_directory(path, error)) continue;
    RETURN_IF_ERROR(Rename(path, absl::StrCat(partial.path(), "/old/", site)));
  }
  for (const phantom::SiteResult& result : results) {
    RETURN_IF_ERROR(Rename(absl::StrCat(partial.path(), "/new/", result.name),
                           absl::StrCat(options.out, "/", result.name)));
  }
  return base::WriteFileAtomically(absl::StrCat(options.out, "/", kDescription),
                                   phantom::Describe(options.plan, results));
}

absl::StatusOr<int> Run(Options options, const Session& session) {
  options.plan.modalities.clear();
  for (const std::string& name : options.modalities) {
    options.plan.modalities.push_back(name == "CT"   ? phantom::Modality::kCt
                                      : name == "MR" ? phantom::Modality::kMr
                                                     : phantom::Modality::kPt);
  }
  if (absl::Status plan = phantom::Check(options.plan); !plan.ok()) return AsWrongUsage(plan);
  std::set<std::string> earlier = EarlierSites(options.out);
  RETURN_IF_ERROR(CheckOutput(options, earlier));

  InterruptGuard guard;
  PartialFolder partial(options.out);
  uint64_t total = 0;
  for (const std::string& site : options.plan.sites) {
    total += phantom::CountFiles(options.plan, site);
  }
  std::vector<phantom::SiteResult> results;
  {
    Progress progress(session, "writing phantoms", "files", total);
    for (const std::string& site : options.plan.sites) {
      std::string folder = absl::StrCat(partial.path(), "/new/", site);
      ASSIGN_OR_RETURN(phantom::SiteResult result,
                       phantom::WriteSite(options.plan, site, folder, [&](uint64_t bytes) {
                         progress.Advance(1, bytes);
                         return !InterruptGuard::Interrupted();
                       }));
      results.push_back(std::move(result));
    }
  }
  RETURN_IF_ERROR(Publish(options, earlier, partial, results));

  nlohmann::json document = {{"studies", 0}, {"files", 0}, {"bytes", 0}};
  nlohmann::json sites = nlohmann::json::array();
  std::vector<std::vector<std::string>> rows = {{"SITE", "PATIENTS", "STUDIES", "FILES", "MB"}};
  uint64_t studies = 0, files = 0, bytes = 0;
  for (const phantom::SiteResult& result : results) {
    studies += result.studies;
    files += result.files;
    bytes += result.bytes;
    sites.push_back({{"name", result.name},
                     {"patients", result.patients},
                     {"studies", result.studies},
                     {"files", result.files},
                     {"bytes", result.bytes}});
    rows.push_back({result.name, absl::StrCat(result.patients), absl::StrCat(result.studies),
                    absl::StrCat(result.files),
                    absl::StrFormat("%.1f", static_cast<double>(result.bytes) / 1e6)});
  }
  document["studies"] = studies;
  document["files"] = files;
  document["bytes"] = bytes;
  document["sites"] = std::move(sites);
  session.Print(document, Table(rows));
  return kDone;
}

}  // namespace

void AddSynthCommands(CLI::App& app, Session& session) {
  auto* synth = app.add_subcommand(
      "synth", "write identified phantom studies: images, tumour contours, clinical table");
  auto options = std::make_shared<Options>();
  synth->add_option("--out", options->out, "folder to write, one folder per site in it")
      ->required()
      ->type_name("DIR");
  synth
      ->add_option("--sites", options->plan.sites,
                   "names of the sites, which also decide their scanners")
      ->required()
      ->delimiter(',')
      ->type_name("A,B,C")
      ->check(CLI::Validator(
          [](std::string& name) {
            return phantom::IsSiteName(name)
                       ? std::string()
                       : std::string("a site's name is 1 to 24 letters, digits, '-' or '_'");
          },
          "", "site name"));
  synth->add_option("--patients", options->plan.patients, "patients per site")
      ->required()
      ->check(CLI::Range(1, 9999))
      ->type_name("N");
  synth->add_option("--seed", options->plan.seed, "the same seed gives the same bytes")
      ->required()
      ->type_name("S");
  synth->add_option("--modality", options->modalities, "what to image, of CT, MR and PT")
      ->delimiter(',')
      ->capture_default_str()
      ->check(CLI::IsMember({"CT", "MR", "PT"}))
      ->type_name("CT|MR|PT …");
  synth->add_flag("--force", options->force, "replace what an earlier synth wrote to --out");
  synth->footer(
      "Writes SITE/PATIENT/{CT,MR_T1,PET}/{image/*.dcm,mask/RS.dcm}, SITE/clinical.csv and "
      "phantom.json,\nwhich names each site's effects. Nobody in them exists.\n\n"
      "Example: oncomesh synth --out /tmp/phantoms --sites north,south,west --patients 6 --seed 7 "
      "--modality CT PT");
  OnRun(synth, session, [options, &session] { return Run(*options, session); });
}

}  // namespace oncomesh::cli
