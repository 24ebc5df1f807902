// link: oncomesh::bench oncomesh::ledger oncomesh::crypto
// SPDX-License-Identifier: Apache-2.0
// The audit log: events from many threads, each acknowledged when it is durable and provable,
// against bare fdatasync of a small append in the same folder, in turns. A sample of what was
// acknowledged is proved at the end.
#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstdio>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_split.h"
#include "libs/base/log.h"
#include "libs/crypto/keys.h"
#include "libs/ledger/event_log.h"
#include "tools/bench/bench.h"

namespace oncomesh {
namespace {

using namespace bench;  // NOLINT(google-build-using-namespace): a program of its own

constexpr char kUsage[] =
    "usage: log_bench [--rounds=N] [--seconds=S] [--settings=LIST] [--folder=FOLDER]\n"
    "\n"
    "  --rounds    rounds of every setting, each with its floor (3)\n"
    "  --seconds   of each measurement (0.5)\n"
    "  --settings  threads or threads×events of one call, by comma (1,16,64,96,128,256,4x100)\n"
    "  --folder    a folder of the disk that is measured (/var/tmp)\n"
    "\n"
    "example: log_bench --rounds=8 --seconds=1 --settings=96,128\n";

struct Setting {
  int threads = 1, batch = 1;
  std::string name;
};

std::vector<Setting> ParseSettings(const std::string& text) {
  std::vector<Setting> out;
  for (absl::string_view part : absl::StrSplit(text, ',')) {
    Setting setting;
    std::vector<absl::string_view> numbers = absl::StrSplit(part, 'x');
    bool good = numbers.size() <= 2 && absl::SimpleAtoi(numbers[0], &setting.threads) &&
                setting.threads > 0 && setting.threads <= 4096;
    if (good && numbers.size() == 2) {
      good = absl::SimpleAtoi(numbers[1], &setting.batch) && setting.batch > 0 &&
             setting.batch <= 1000;
    }
    if (!good) Fail(absl::StrCat("no setting: ", part));
    setting.name = absl::StrCat(setting.threads, setting.threads == 1 ? " thread" : " threads");
    if (setting.batch > 1) absl::StrAppend(&setting.name, " × ", setting.batch, " events");
    out.push_back(setting);
  }
  return out;
}

double Quantile(std::vector<double>& values, double q) {
  if (values.empty()) return 0;
  const size_t at =
      std::min(values.size() - 1, static_cast<size_t>(q * static_cast<double>(values.size())));
  std::nth_element(values.begin(), values.begin() + static_cast<ptrdiff_t>(at), values.end());
  return values[at];
}

struct Figures {
  double rate = 0;              // events per second
  double p50 = 0, p99 = 0;      // milliseconds until the acknowledgement
  double cpu_microseconds = 0;  // per event
};

// Appends of 4 KiB, one after the other, each made durable.
Figures Floor(const std::string& folder, double seconds) {
  const int fd = open((folder + "/floor").c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0600);
  if (fd < 0) Fail("cannot write the floor");
  const std::string block(4096, 'f');
  std::vector<double> took;
  const double start = Now();
  while (Now() - start < seconds) {
    const double begin = Now();
    if (write(fd, block.data(), block.size()) < 0 || fdatasync(fd) != 0) Fail("the disk failed");
    took.push_back((Now() - begin) * 1e3);
  }
  const double wall = Now() - start;
  close(fd);
  return {static_cast<double>(took.size()) / wall, Quantile(took, 0.5), Quantile(took, 0.99), 0};
}

audit::v1::AppendRequest RequestOf(int batch) {
  audit::v1::AppendRequest request;
  for (int i = 0; i < batch; ++i) {
    audit::v1::Event& event = *request.add_events();
    event.set_actor("person:0123456789abcdef");
    event.set_type("rpc.NodeCatalogueService.CountAtNode");
    event.set_outcome("OK");
    event.set_permit_sha256(std::string(64, 'a'));
  }
  return request;
}

Figures Append(ledger::EventLog& log, const Setting& setting, double seconds) {
  std::vector<std::vector<double>> took(static_cast<size_t>(setting.threads));
  std::vector<std::thread> threads;
  std::atomic<bool> stop = false;
  const double cpu = ProcessCpu(), start = Now();
  for (std::vector<double>& mine : took) {
    threads.emplace_back([&] {
      const audit::v1::AppendRequest request = RequestOf(setting.batch);
      while (!stop) {
        const double begin = Now();
        Must(log.Append(request));
        mine.push_back((Now() - begin) * 1e3);
      }
    });
  }
  std::this_thread::sleep_for(std::chrono::duration<double>(seconds));
  stop = true;
  for (std::thread& thread : threads) thread.join();
  const double wall = Now() - start, used = ProcessCpu() - cpu;
  std::vector<double> all;
  for (const std::vector<double>& mine : took) all.insert(all.end(), mine.begin(), mine.end());
  const double events = static_cast<double>(all.size()) * setting.batch;
  Figures out;
  out.rate = events / wall;
  out.p50 = Quantile(all, 0.5);
  out.p99 = Quantile(all, 0.99);
  out.cpu_microseconds = used / events * 1e6;
  return out;
}

// Inclusion of entries all over the log, verified against its signed checkpoint.
void Prove(ledger::EventLog& log) {
  const uint64_t size = log.log().size();
  const int sample = 200;
  const double start = Now();
  for (uint64_t i = 0; i < sample; ++i) {
    audit::v1::ProveRequest request;
    request.set_index(static_cast<int64_t>(i * (size - 1) / (sample - 1)));
    Must(log.Prove(request));
  }
  std::printf("%llu events; %d of them proved in %.1f ms each\n",
              static_cast<unsigned long long>(size), sample, (Now() - start) * 1e3 / sample);
}

int Main(int argc, char** argv) {
  Options options(argc, argv, kUsage);
  const int rounds = options.Int("rounds", 3);
  const double seconds = options.Number("seconds", 0.5);
  const auto settings = ParseSettings(options.Text("settings", "1,16,64,96,128,256,4x100"));
  const std::string folder = options.Text("folder", "/var/tmp");
  options.Done();

  base::SetLogLevel(base::Level::kError);
  const Scratch scratch(folder);
  auto log = Must(
      ledger::EventLog::Open({.folder = scratch / "log",
                              .site = "bench",
                              .trust_domain = "bench.example",
                              .key = crypto::PrivateKey::Generate(crypto::KeyType::kEd25519)}));
  Append(*log, {8, 1, ""}, 0.2);  // warm

  struct Series {
    std::vector<double> rate, p50, p99, cpu, per_sync, p50_ratio;
  };
  std::vector<Series> series(settings.size());
  std::vector<double> floor_rate, floor_p99;
  for (int round = 0; round < rounds; ++round) {
    for (size_t i = 0; i < settings.size(); ++i) {
      const Figures floor = Floor(scratch.path(), seconds / 2);
      const Figures done = Append(*log, settings[i], seconds);
      floor_rate.push_back(floor.rate);
      floor_p99.push_back(floor.p99);
      series[i].rate.push_back(done.rate);
      series[i].p50.push_back(done.p50);
      series[i].p99.push_back(done.p99);
      series[i].cpu.push_back(done.cpu_microseconds);
      series[i].per_sync.push_back(done.rate / floor.rate);
      series[i].p50_ratio.push_back(done.p50 / floor.p50);
    }
  }
  Prove(*log);
  std::printf("floor: %s fdatasync/s one after the other, p99 %s ms; %d rounds\n",
              Text(SpreadOf(floor_rate), 0).c_str(), Text(SpreadOf(floor_p99), 1).c_str(), rounds);
  std::string met;
  for (size_t i = 0; i < settings.size(); ++i) {
    Series& s = series[i];
    const Spread rate = SpreadOf(s.rate), p99 = SpreadOf(s.p99);
    const bool good = p99.median < 20 && rate.median >= 20'000;
    if (good) absl::StrAppend(&met, met.empty() ? "" : ", ", settings[i].name);
    Row("log_bench", absl::StrCat("log append, durable and provable, ", settings[i].name),
        absl::StrFormat("%s events/s, p50 %.1f ms, p99 %s ms; %.1f× the fdatasyncs of the floor, "
                        "p50 %.1f× one; CPU %.1f µs/event",
                        Text(rate, 0), SpreadOf(s.p50).median, Text(p99, 1),
                        SpreadOf(s.per_sync).median, SpreadOf(s.p50_ratio).median,
                        SpreadOf(s.cpu).median),
        settings[i].threads == 1 ? "–" : "≥ 20,000/s and p99 < 20 ms", good);
  }
  std::printf("both goals met by: %s\n", met.empty() ? "no setting" : met.c_str());
  return 0;
}

}  // namespace
}  // namespace oncomesh

int main(int argc, char** argv) { return oncomesh::Main(argc, argv); }
