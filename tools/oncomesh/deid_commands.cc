// SPDX-License-Identifier: Apache-2.0
#include "tools/oncomesh/deid_commands.h"

#include <chrono>
#include <memory>
#include <nlohmann/json.hpp>
#include <thread>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "libs/base/error.h"
#include "libs/base/files.h"
#include "libs/base/random.h"
#include "libs/base/status_macros.h"
#include "libs/crypto/encoding.h"
#include "services/deidentification/folder_run.h"
#include "services/deidentification/profile.h"
#include "services/deidentification/release_check.h"
#include "services/deidentification/sealed_file.h"
#include "tools/oncomesh/interrupt.h"
#include "tools/oncomesh/names.h"

namespace oncomesh::cli {
namespace {

using deidentification::Deidentifier;
using nlohmann::json;

struct Options {
  std::vector<std::string> in;
  std::string folder, out, key, project, manifest, quarantine, name, file, public_key;
  std::string profile = "research";
  std::vector<std::string> source;
  int jobs = 0;
  bool force = false;
};

// The key that a project's manifests are verified with, as the manifest has it.
std::string PublicKeyOf(const deidentification::Keys& keys) {
  return crypto::Base64Url(deidentification::ManifestKey(keys).Public().Raw());
}

absl::StatusOr<int> Keygen(const Session& session, const Options& options) {
  std::string content = deidentification::NewKeyFile(base::SystemRandom::Get());
  RETURN_IF_ERROR(base::WriteFileAtomically(options.out, content, 0600, options.force));
  ASSIGN_OR_RETURN(std::string key, deidentification::ReadKeyFile(options.out));
  const deidentification::Keys keys(key);
  const std::string id = keys.KeyId(), public_key = PublicKeyOf(keys);
  session.Print(
      json{{"keyId", id}, {"publicKey", public_key}},
      absl::StrCat("key ", id,
                   ": keep it secret and keep it safe; whoever has it can link the "
                   "pseudonyms, and without it nobody can make the same ones again\n"
                   "public key ",
                   public_key, ": give it to whoever gets a folder, to check its manifest with"));
  return kDone;
}

absl::StatusOr<std::string> ReadKey(const std::string& path) {
  absl::StatusOr<std::string> key = deidentification::ReadKeyFile(path);
  if (!key.ok()) return base::Annotate(key.status(), "--key: ");
  return key;
}

absl::StatusOr<std::shared_ptr<Deidentifier>> MakeDeidentifier(const std::string& profile_name,
                                                               const std::string& key_path) {
  ASSIGN_OR_RETURN(deidentification::Profile profile, deidentification::LoadProfile(profile_name));
  ASSIGN_OR_RETURN(std::string key, ReadKey(key_path));
  return std::make_shared<Deidentifier>(profile, key);
}

json ReportJson(const deidentification::FolderRunReport& report, double seconds) {
  json quarantine = json::array();
  for (const auto& entry : report.quarantine) {
    json one{{"index", entry.index}, {"reason", entry.reason}};
    if (entry.line > 0) one["line"] = entry.line;
    if (!entry.sealed.empty()) one["sealed"] = entry.sealed;
    quarantine.push_back(std::move(one));
  }
  json out{{"objects",
            {{"read", report.objects_read},
             {"released", report.released},
             {"quarantined", report.quarantined},
             {"failed", report.failed}}},
           {"bytes", {{"read", report.bytes_read}, {"written", report.bytes_written}}},
           {"seconds", seconds},
           {"quarantine", quarantine}};
  if (!report.failures.empty()) {
    json failures = json::array();
    for (const auto& failure : report.failures) {
      failures.push_back({{"index", failure.index}, {"reason", failure.reason}});
    }
    out["failures"] = failures;
  }
  if (report.tables > 0) {
    out["tables"] = {{"read", report.tables},
                     {"rowsRead", report.rows_read},
                     {"rowsReleased", report.rows_released},
                     {"patients", report.table_patients},
                     {"patientsWithObjects", report.patients_in_both}};
  }
  return out;
}

std::string ReportText(const deidentification::FolderRunReport& report, double seconds) {
  std::string out = absl::StrFormat(
      "%d objects read, %d released, %d quarantined, %d failed; %.1f MB in %.1f s\n",
      report.objects_read, report.released, report.quarantined, report.failed,
      static_cast<double>(report.bytes_read) / 1e6, seconds);
  if (report.tables > 0) {
    absl::StrAppend(&out, report.tables, " clinical tables: ", report.rows_released, " of ",
                    report.rows_read, " rows released\n");
    // Said only where images are there to be met.
    if (report.patients > 0 && report.patients_in_both < report.table_patients) {
      absl::StrAppend(&out, report.table_patients - report.patients_in_both, " of ",
                      report.table_patients,
                      " patients of the tables have no object here; when the objects name an "
                      "issuer of the patient identifier, the tables must name it too "
                      "(issuer_of_patient_id), or the profile (homeIssuer)\n");
    }
  }
  std::map<std::string, uint64_t> reasons;
  for (const auto& entry : report.quarantine) ++reasons[entry.reason];
  if (!reasons.empty()) {
    std::vector<std::vector<std::string>> rows = {{"QUARANTINED", "REASON"}};
    for (const auto& [reason, count] : reasons) rows.push_back({absl::StrCat(count), reason});
    out += Table(rows);
  }
  return out;
}

absl::StatusOr<int> RunDeid(const Session& session, const Options& options) {
  if (options.project.empty() || options.project.size() > 128) {
    return WrongUsage("PROJECT_INVALID", "the project's name must have 1 to 128 characters");
  }
  ASSIGN_OR_RETURN(std::shared_ptr<Deidentifier> deidentifier,
                   MakeDeidentifier(options.profile, options.key));
  // Said before the work, not after it.
  if (!options.manifest.empty() && !options.force &&
      base::ReadFile(options.manifest, 1).status().code() != absl::StatusCode::kNotFound) {
    return base::Error(absl::StatusCode::kAlreadyExists, "OUTPUT_EXISTS",
                       "the manifest is there already; choose another name or use --force");
  }
  deidentification::FolderRunOptions run;
  run.inputs = options.in;
  run.output_folder = options.out;
  run.project = options.project;
  run.quarantine_folder = options.quarantine;
  run.with_manifest = !options.manifest.empty();
  run.overwrite = options.force;
  run.jobs = options.jobs > 0 ? options.jobs
                              : static_cast<int>(std::max(1u, std::thread::hardware_concurrency()));
  absl::StatusOr<std::vector<std::string>> files = deidentification::ListInputs(options.in);
  if (!files.ok()) return base::Annotate(files.status(), "--in: ");
  auto progress = std::make_unique<Progress>(session, "de-identified", "files", files->size());
  run.progress = [&](uint64_t count, uint64_t bytes) { progress->Advance(count, bytes); };
  run.cancelled = [] { return InterruptGuard::Interrupted(); };
  InterruptGuard guard;
  auto started = std::chrono::steady_clock::now();
  ASSIGN_OR_RETURN(deidentification::FolderRunReport report,
                   deidentification::RunFolders(*deidentifier, run));
  if (run.with_manifest) {
    std::string manifest = deidentification::WriteManifest(
        std::move(report.manifest), deidentification::ManifestKey(deidentifier->project_keys()));
    RETURN_IF_ERROR(base::WriteFileAtomically(options.manifest, manifest, 0644, options.force));
  }
  double seconds =
      std::chrono::duration<double>(std::chrono::steady_clock::now() - started).count();
  progress.reset();
  json document = ReportJson(report, seconds);
  std::string text = ReportText(report, seconds);
  if (run.with_manifest) {
    const std::string public_key = PublicKeyOf(deidentifier->project_keys());
    document["publicKey"] = public_key;
    absl::StrAppend(&text, "manifest signed; its public key: ", public_key, "\n");
  }
  session.Print(document, text);
  if (report.failed == 0) return kDone;
  return report.failed == report.objects_read ? kFailed : kPartly;
}

absl::StatusOr<int> Check(const Session& session, const Options& options) {
  std::shared_ptr<Deidentifier> deidentifier;
  if (!options.source.empty() && options.key.empty()) {
    return WrongUsage("KEY_NEEDED", "--source needs the project's key: --key KEY");
  }
  deidentification::ReleaseCheckOptions check;
  if (!options.public_key.empty()) {
    absl::StatusOr<std::string> raw = crypto::Base64UrlDecode(options.public_key);
    if (!raw.ok() || raw->size() != 32) {
      return WrongUsage("PUBLIC_KEY_INVALID",
                        "--public-key is 32 bytes in base64url, as `oncomesh deid run` prints it");
    }
    check.public_key = *raw;
  }
  if (!options.key.empty()) {
    ASSIGN_OR_RETURN(deidentifier, MakeDeidentifier(options.profile, options.key));
    check.deidentifier = deidentifier.get();
  }
  check.folder = options.folder;
  check.manifest_path = options.manifest;
  check.source = options.source;
  auto progress = std::make_unique<Progress>(session, "checked", "files", 0);
  check.progress = [&](uint64_t count, uint64_t bytes) { progress->Advance(count, bytes); };
  ASSIGN_OR_RETURN(deidentification::ReleaseReport report, deidentification::CheckRelease(check));
  progress.reset();
  json findings = json::array();
  std::vector<std::vector<std::string>> rows = {{"FINDING", "OBJECT", "WHAT"}};
  for (const auto& finding : report.findings) {
    json one{{"finding", deidentification::FindingName(finding.kind)}};
    if (!finding.path.empty()) one["path"] = finding.path;
    if (!finding.detail.empty()) one["what"] = finding.detail;
    findings.push_back(std::move(one));
    rows.push_back({deidentification::FindingName(finding.kind), finding.path, finding.detail});
  }
  const std::string public_key = crypto::Base64Url(report.public_key);
  const bool compared = check.deidentifier != nullptr || !check.public_key.empty();
  json document{{"valid", report.findings.empty()},
                {"project", report.project},
                {"profile", report.profile},
                {"keyId", report.key_id},
                {"publicKey", public_key},
                {"objects", report.objects},
                {"findings", findings}};
  // Without a key to compare with there is nothing to say about who signed.
  if (compared) document["signedByProject"] = report.signed_by_project;
  std::string text = absl::StrCat(
      "signed by ", public_key,
      compared ? ", the project's key\n"
               : " (not compared with anything: anybody can sign anew; --public-key or --key)\n",
      report.objects, " objects as listed\n");
  if (!options.source.empty()) {
    document["residual"] = {{"objects", report.searched}, {"identifiers", report.identifiers}};
    absl::StrAppend(&text, report.searched, " objects searched for ", report.identifiers,
                    " identifiers of their sources\n");
  }
  if (!report.findings.empty()) text += Table(rows);
  session.Print(document, text);
  if (!report.findings.empty()) {
    return base::Error(
        absl::StatusCode::kFailedPrecondition, "RELEASE_NOT_CLEAN",
        absl::StrCat(report.findings.size(), " findings; do not pass this folder on"));
  }
  return kDone;
}

absl::StatusOr<int> Profiles(const Session& session) {
  json list = json::array();
  std::vector<std::vector<std::string>> rows = {{"PROFILE", "WHAT IT IS FOR"}};
  for (const deidentification::Profile& profile : deidentification::BuiltInProfiles()) {
    list.push_back({{"name", profile.name}, {"description", profile.description}});
    rows.push_back({profile.name, profile.description});
  }
  session.Print(json{{"profiles", list}}, Table(rows));
  return kDone;
}

absl::StatusOr<int> Show(const Session& session, const Options& options) {
  ASSIGN_OR_RETURN(deidentification::Profile profile, deidentification::LoadProfile(options.name));
  json document = deidentification::ProfileJson(profile);
  document["methods"] = json::array();
  std::string text = absl::StrCat(profile.name, ": ", profile.description, "\n");
  for (const std::string& code : deidentification::MethodCodes(profile)) {
    absl::string_view meaning = deidentification::MethodMeaning(code);
    document["methods"].push_back({{"code", code}, {"meaning", std::string(meaning)}});
    absl::StrAppend(&text, "  ", code, " ", meaning, "\n");
  }
  for (const auto& [name, on] : document["options"].items()) {
    absl::StrAppend(&text, "  ", name, ": ", on.get<bool>() ? "yes" : "no", "\n");
  }
  document["unlistedAttributes"] = json::array();
  absl::StrAppend(&text, "  attributes that the PS3.15 table does not list:\n");
  for (const std::string& rule : deidentification::UnlistedRules(profile)) {
    document["unlistedAttributes"].push_back(rule);
    absl::StrAppend(&text, "    ", rule, "\n");
  }
  document["ruleTable"] = std::string(deidentification::RuleTableEdition());
  document["ruleTableSha256"] = std::string(deidentification::RuleTableSha256());
  absl::StrAppend(&text, "  PS3.15 table: ", deidentification::RuleTableEdition(), ", SHA-256 ",
                  deidentification::RuleTableSha256(), "\n");
  session.Print(document, text);
  return kDone;
}

absl::StatusOr<int> Unseal(const Session& session, const Options& options) {
  ASSIGN_OR_RETURN(std::string key, ReadKey(options.key));
  ASSIGN_OR_RETURN(base::AtomicFile file, base::AtomicFile::Create(options.out, 0600));
  uint64_t bytes = 0;
  {
    Progress progress(session, "unsealed", "bytes", 0);
    RETURN_IF_ERROR(deidentification::UnsealFile(
        options.file, deidentification::Keys(key).QuarantineKey(), [&](absl::string_view part) {
          bytes += part.size();
          progress.Advance(part.size());
          return file.Append(part);
        }));
  }
  RETURN_IF_ERROR(file.Commit(options.force));
  session.Print(json{{"bytes", bytes}}, absl::StrCat(bytes, " bytes"));
  return kDone;
}

}  // namespace

void AddDeidCommands(CLI::App& app, Session& session) {
  CLI::App* deid =
      app.add_subcommand("deid", "de-identify DICOM and clinical tables, without any service");
  deid->require_subcommand(1);
  deid->footer(
      "Example: oncomesh deid run --in scans --out clean --key project.key --project trial");
  auto options = std::make_shared<Options>();

  CLI::App* keygen = deid->add_subcommand("keygen", "make a project key of 256 bits");
  keygen->add_option("--out", options->out, "file to write, mode 0600")->required();
  keygen->add_flag("--force", options->force, "replace a key that is there");
  keygen->footer("Example: oncomesh deid keygen --out project.key");
  OnRun(keygen, session, [&session, options] { return Keygen(session, *options); });

  CLI::App* run = deid->add_subcommand("run", "de-identify files and folders");
  run->add_option("--in", options->in, "files and folders to read")->required();
  run->add_option("--out", options->out, "folder to write")->required();
  run->add_option("--key", options->key, "the project's key")->required();
  run->add_option("--project", options->project, "the project's name, for the manifest")
      ->required();
  run->add_option("--profile", options->profile, "built-in profile or JSON file")
      ->capture_default_str()
      ->type_name(kNameOfProfile);
  run->add_option("--quarantine", options->quarantine,
                  "folder for encrypted originals of what could not be released");
  run->add_option("--manifest", options->manifest, "file for the signed manifest");
  run->add_option("--jobs", options->jobs, "threads; default: one per core")
      ->check(CLI::Range(1, 256));
  run->add_flag("--force", options->force, "replace outputs that are there");
  run->footer(
      "Example: oncomesh deid run --in scans --out clean --key project.key --project trial "
      "--manifest clean.manifest\nQuarantined objects do not make it fail; it ends with 3 when "
      "some files could not be read or written.");
  OnRun(run, session, [&session, options] { return RunDeid(session, *options); });

  CLI::App* check = deid->add_subcommand("check", "check a released folder against its manifest");
  check->add_option("--in", options->folder, "the released folder")->required();
  check->add_option("--manifest", options->manifest, "its manifest")->required();
  check->add_option("--source", options->source,
                    "the originals: search their identifiers in the released bytes");
  check->add_option("--key", options->key, "the project's key: is the manifest signed with it?");
  check->add_option("--public-key", options->public_key,
                    "the project's public key, as `deid run` and `deid keygen` print it: is the "
                    "manifest signed with it?");
  check->add_option("--profile", options->profile, "the profile the folder was made with")
      ->capture_default_str()
      ->type_name(kNameOfProfile);
  check->footer(
      "Example: oncomesh deid check --in clean --manifest clean.manifest --source scans --key "
      "project.key");
  OnRun(check, session, [&session, options] { return Check(session, *options); });

  CLI::App* profiles = deid->add_subcommand("profiles", "list the built-in profiles");
  profiles->footer("Example: oncomesh deid profiles");
  OnRun(profiles, session, [&session] { return Profiles(session); });

  CLI::App* show = deid->add_subcommand("show", "show a profile with its options");
  show->add_option("NAME", options->name, "built-in profile or JSON file")
      ->required()
      ->type_name(kNameOfProfile);
  show->footer("Example: oncomesh deid show research");
  OnRun(show, session, [&session, options] { return Show(session, *options); });

  CLI::App* unseal = deid->add_subcommand("unseal", "decrypt a quarantined original");
  unseal->add_option("file", options->file, "a .sealed file of the quarantine folder")->required();
  unseal->add_option("--key", options->key, "the project's key")->required();
  unseal->add_option("--out", options->out, "file to write, mode 0600")->required();
  unseal->add_flag("--force", options->force, "replace a file that is there");
  unseal->footer("Example: oncomesh deid unseal q/0f….sealed --key project.key --out original.dcm");
  OnRun(unseal, session, [&session, options] { return Unseal(session, *options); });
}

}  // namespace oncomesh::cli
