// link: oncomesh::bench oncomesh::deidentification_service oncomesh::phantom
// SPDX-License-Identifier: Apache-2.0
// What de-identification costs: a tree of CT files through the core of `oncomesh deid run` against
// `cp -r` of the same tree, both as processes of their own on one core, in turns; and the peak
// memory for one object of 1.2 GB.
#include <fcntl.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_replace.h"
#include "libs/base/files.h"
#include "libs/base/random.h"
#include "libs/phantom/series.h"
#include "services/deidentification/folder_run.h"
#include "tools/bench/bench.h"

namespace oncomesh {
namespace {

using namespace bench;  // NOLINT(google-build-using-namespace): a program of its own
namespace fs = std::filesystem;

constexpr char kUsage[] =
    "usage: deid_bench [--rounds=N] [--files=N] [--in=FOLDER] [--folder=FOLDER] [--large-mb=N]\n"
    "\n"
    "  --rounds    paired rounds (3)\n"
    "  --files     CT files of 528 KB that are made (200)\n"
    "  --in        a folder of real files instead\n"
    "  --folder    where everything lies (/dev/shm); the tree and two copies must fit\n"
    "  --large-mb  megabytes of the large object (1200); sparse where the disk can\n"
    "\n"
    "example: deid_bench --files=1000 --rounds=8\n"
    "example: deid_bench --in=scans --folder=/var/tmp\n";

// A site whose CT has 512 × 512 pixels and few slices; their copies fill a series.
phantom::Site CtSite() {
  phantom::Site site = phantom::MakeSite(phantom::Key(1), "bench");
  site.ct.matrix = 512;
  site.ct.pixel_mm = 0.9;
  site.ct.slice_mm = 60;
  return site;
}

constexpr int kFilesOfSeries = 100;

void MakeTree(const std::string& folder, int files) {
  const phantom::Site site = CtSite();
  for (int made = 0, number = 1; made < files; ++number) {
    const phantom::Patient patient = phantom::MakePatient(phantom::Key(1), site, number);
    const phantom::Anatomy anatomy(patient, site);
    const phantom::Series series = phantom::MakeSeries(patient, site, phantom::Modality::kCt);
    const std::vector<std::string> images = phantom::ImageFiles(patient, site, anatomy, series);
    const std::string images_folder = absl::StrCat(folder, "/", patient.id, "/CT/image");
    Must(base::MakeDirectories(images_folder));
    for (int i = 0; i < kFilesOfSeries && made < files; ++i, ++made) {
      const size_t slice = static_cast<size_t>(i) % images.size();
      std::string bytes = images[slice];
      for (const std::string& uid : series.sop_uids) {
        // Another instance of the same length: the number takes the place of the last digits.
        const std::string other = uid.substr(0, uid.size() - 4) + absl::StrFormat("%04d", 1000 + i);
        for (size_t at = bytes.find(uid); at < 8192; at = bytes.find(uid, at + 1)) {
          bytes.replace(at, uid.size(), other);
        }
      }
      const std::string path = absl::StrFormat("%s/%06d.dcm", images_folder, i);
      const int fd = open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0644);
      if (write(fd, bytes.data(), bytes.size()) != static_cast<ssize_t>(bytes.size())) {
        Fail("cannot write the files");
      }
      close(fd);
    }
  }
}

// One multi-frame object: the header of a CT, then frames of zeros that need no disk.
void MakeLarge(const std::string& path, uint64_t bytes) {
  const phantom::Site site = CtSite();
  const phantom::Patient patient = phantom::MakePatient(phantom::Key(1), site, 1);
  const phantom::Series series = phantom::MakeSeries(patient, site, phantom::Modality::kCt);
  const uint64_t frames = bytes / (512 * 512 * 2);
  phantom::DataSet head = phantom::CommonElements(patient, site, series);
  head.Text(0x00080016, "UI", phantom::kCtImageStorage);
  head.Text(0x00080018, "UI", series.sop_uids[0]).Text(0x00080060, "CS", "CT");
  head.Text(0x0020000e, "UI", series.series_uid).Text(0x00280301, "CS", "NO");
  head.Uint16(0x00280002, 1).Text(0x00280004, "CS", "MONOCHROME2");
  head.Integer(0x00280008, static_cast<int64_t>(frames));
  head.Uint16(0x00280010, 512).Uint16(0x00280011, 512);
  head.Uint16(0x00280100, 16).Uint16(0x00280101, 16).Uint16(0x00280102, 15).Uint16(0x00280103, 0);
  head.Words(0x7fe00010, {0});
  std::string file = head.EncodeFile();
  const uint32_t length = static_cast<uint32_t>(frames * 512 * 512 * 2);
  for (size_t i = 0; i < 4; ++i) {  // the element's length, before its one word
    file[file.size() - 6 + i] = static_cast<char>(length >> (8 * i) & 0xff);
  }
  const int fd = open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0644);
  if (write(fd, file.data(), file.size()) != static_cast<ssize_t>(file.size()) ||
      ftruncate(fd, static_cast<off_t>(file.size() - 2 + length)) != 0) {
    Fail("cannot write the large object");
  }
  close(fd);
}

// The process that is measured: what `oncomesh deid run --jobs 1` does.
int Work(const std::string& in, const std::string& out, const std::string& key_path,
         bool manifest) {
  const auto profile = Must(deidentification::LoadProfile("research"));
  const deidentification::Deidentifier deidentifier(profile,
                                                    Must(deidentification::ReadKeyFile(key_path)));
  deidentification::FolderRunOptions options;
  options.inputs = {in};
  options.output_folder = out;
  options.project = "bench";
  options.with_manifest = manifest;
  options.jobs = 1;
  const auto report = Must(deidentification::RunFolders(deidentifier, options));
  if (manifest) {
    const std::string text = deidentification::WriteManifest(
        report.manifest, deidentification::ManifestKey(deidentifier.project_keys()));
    Must(base::WriteFileAtomically(out + ".manifest", text));
  }
  std::printf("%llu %llu %lld\n", static_cast<unsigned long long>(report.released),
              static_cast<unsigned long long>(report.quarantined + report.failed),
              static_cast<long long>(PeakResident()));
  return 0;
}

struct Paths {
  std::string in, out, copy, key;
};

Ran Deidentify(const Paths& paths, bool manifest) {
  fs::remove_all(paths.out);
  return Run({Self(), "--worker", paths.in, paths.out, paths.key, manifest ? "1" : "0"});
}

Ran Copy(const Paths& paths) {
  fs::remove_all(paths.copy);
  return Run({"cp", "-r", paths.in, paths.copy});
}

void Tree(const Paths& paths, int rounds, const std::string& what) {
  std::vector<double> cpu[2], wall[2], copy_cpu, copy_wall;
  Copy(paths);  // warms the cache
  for (int round = 0; round < rounds; ++round) {
    for (bool manifest : {false, true}) {
      // Every other round begins with the copy.
      Ran copied, done;
      if (round % 2 == 0) copied = Copy(paths);
      done = Deidentify(paths, manifest);
      if (round % 2 == 1) copied = Copy(paths);
      cpu[manifest].push_back(done.cpu / copied.cpu);
      wall[manifest].push_back(done.wall / copied.wall);
      copy_cpu.push_back(copied.cpu);
      copy_wall.push_back(copied.wall);
    }
  }
  fs::remove_all(paths.copy);
  fs::remove_all(paths.out);
  std::printf("cp -r takes %.3f s of CPU, %.3f s; %d paired rounds\n", SpreadOf(copy_cpu).median,
              SpreadOf(copy_wall).median, rounds);
  for (bool manifest : {false, true}) {
    const Spread spread = SpreadOf(cpu[manifest]);
    Row("deid_bench",
        absl::StrCat("de-identify ", what, ", one core",
                     manifest ? ", with a manifest (SHA-256 of every output)" : "",
                     ", against `cp -r`"),
        absl::StrCat("CPU ", Text(spread), "×, wall ", Text(SpreadOf(wall[manifest])), "×"),
        manifest ? "–" : "≤ 1.2×", spread.median <= 1.2);
  }
}

int Main(int argc, char** argv) {
  if (argc == 6 && std::strcmp(argv[1], "--worker") == 0) {
    return Work(argv[2], argv[3], argv[4], argv[5][0] == '1');
  }
  Options options(argc, argv, kUsage);
  const int rounds = options.Int("rounds", 3);
  const int files = options.Int("files", 200);
  const std::string in = options.Text("in", "");
  const std::string folder = options.Text("folder", "/dev/shm");
  const int large = options.Int("large-mb", 1200);
  options.Done();

  const Scratch scratch(folder);
  Paths paths{in, scratch / "out", scratch / "copy", scratch / "key"};
  Must(base::WriteFileAtomically(paths.key, deidentification::NewKeyFile(base::SystemRandom::Get()),
                                 0600));
  PinToOneCore();
  std::string what = "the given files";
  if (in.empty()) {
    paths.in = scratch / "in";
    MakeTree(paths.in, files);
    what = absl::StrCat(files, " CT files of 528 KB");
  }
  const Ran first = Deidentify(paths, false);
  long long released = 0, held = 0, peak = 0;
  std::sscanf(first.out.c_str(), "%lld %lld %lld", &released, &held, &peak);
  std::printf("%lld objects released, %lld not\n", released, held);
  if (in.empty() && (released != files || held != 0)) Fail("a file was not released");
  Tree(paths, rounds, what);
  if (in.empty()) fs::remove_all(paths.in);

  paths.in = scratch / "large.dcm";
  MakeLarge(paths.in, static_cast<uint64_t>(large) * 1000 * 1000);
  for (bool manifest : {false, true}) {
    const Ran ran = Deidentify(paths, manifest);
    std::sscanf(ran.out.c_str(), "%lld %lld %lld", &released, &held, &peak);
    if (released != 1) Fail("the large object was not released");
    Row("deid_bench",
        absl::StrCat("peak resident memory, one object of ", large, " MB",
                     manifest ? ", with a manifest" : ""),
        absl::StrFormat("%.1f MB", static_cast<double>(peak) / 1e6), "≤ 32 MB", peak <= 32'000'000);
  }
  return 0;
}

}  // namespace
}  // namespace oncomesh

int main(int argc, char** argv) { return oncomesh::Main(argc, argv); }
