// link: oncomesh::bench_hub oncomesh::federated
// SPDX-License-Identifier: Apache-2.0
// What aggregation costs: the exact sum against a plain add over the same memory, the hub's memory
// with 4, 16 and 64 updates of 400 MB, and an empty round of 20 nodes over the real store and
// spool.
//
//   aggregation_bench [FOLDER [PART …]]   FOLDER: where the files lie, default /tmp; 2 GB are
//   needed
//                                         PART: kernel, memory, round; default all
#include <fcntl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "libs/base/log.h"
#include "libs/crypto/digest.h"
#include "libs/federated/plan.h"
#include "libs/federated/strategy.h"
#include "tools/bench/bench.h"
#include "tools/bench/bench_hub.h"

namespace {

using namespace oncomesh;  // NOLINT(google-build-using-namespace): a program of its own

using bench::Must;

double Seconds(const std::function<void()>& work) {
  auto start = std::chrono::steady_clock::now();
  work();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

// Processor time of this process: what a core does is told apart from who else wants it.
double CpuSeconds(const std::function<void()>& work) {
  const auto now = [] {
    timespec time{};
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time);
    return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_nsec) * 1e-9;
  };
  double start = now();
  work();
  return now() - start;
}

// The best of several.
double Best(int times, const std::function<void()>& work) {
  double best = 1e9;
  for (int i = 0; i < times; ++i) best = std::min(best, CpuSeconds(work));
  return best;
}

// Not inlined, so that the compiler cannot drop the work.
[[gnu::noinline]] void PlainAdd(const float* x, size_t n, double* sums) {
  for (size_t i = 0; i < n; ++i) sums[i] += static_cast<double>(x[i]);
}

void Kernel() {
  // In the cache, as the hub does it: a block of sums takes a block of each update in turn.
  constexpr size_t kBlock = 64 << 10, kUpdates = 64;
  std::vector<float> updates(kBlock * kUpdates);
  for (size_t i = 0; i < updates.size(); ++i) updates[i] = static_cast<float>(i % 1000) * 1e-3f;
  const double gigabytes = static_cast<double>(updates.size()) * 4 * 10 / 1e9;
  federated::FixedPointSum sum(kBlock, 40);
  double exact = Best(7, [&] {
    for (int repeat = 0; repeat < 10; ++repeat) {
      sum.Reset(kBlock, 40);
      for (size_t k = 0; k < kUpdates; ++k) {
        Must(sum.Add(absl::MakeConstSpan(updates).subspan(k * kBlock, kBlock), 100 + k));
      }
    }
  });
  std::vector<double> plain(kBlock);
  double add = Best(7, [&] {
    for (int repeat = 0; repeat < 10; ++repeat) {
      for (size_t k = 0; k < kUpdates; ++k) {
        PlainAdd(updates.data() + k * kBlock, kBlock, plain.data());
      }
    }
  });
  std::printf(
      "exact sum, blocks of 64 Ki    %6.2f GB/s per core   plain add %6.2f GB/s   ratio %.2f\n",
      gigabytes / exact, gigabytes / add, add / exact);

  // Out of the cache: one update of 400 MB onto sums of 800 MB.
  constexpr size_t kLarge = 100 << 20;
  std::vector<float> update(kLarge, 0.5f);
  std::vector<double> large(kLarge);
  double plain_large = Best(3, [&] { PlainAdd(update.data(), kLarge, large.data()); });
  large = {};
  federated::FixedPointSum exact_large(kLarge, 40);
  double fixed_large = Best(3, [&] { Must(exact_large.Add(absl::MakeConstSpan(update), 100)); });
  std::printf(
      "exact sum, 400 MB at once     %6.2f GB/s per core   plain add %6.2f GB/s   ratio %.2f\n",
      kLarge * 4 / 1e9 / fixed_large, kLarge * 4 / 1e9 / plain_large, plain_large / fixed_large);
}

std::string WriteUpdate(const std::string& path, int64_t elements, float value) {
  int fd = open(path.c_str(), O_RDWR | O_CREAT | O_TRUNC, 0600);
  auto writer =
      Must(federated::TensorWriter::Create(fd, {{"w", federated::Dtype::kF32, {elements}}}, {}));
  std::vector<double> block(64 << 10, value);
  const federated::TensorInfo tensor = writer.Order()[0];
  for (int64_t at = 0; at < elements; at += static_cast<int64_t>(block.size())) {
    size_t n = std::min<size_t>(block.size(), static_cast<size_t>(elements - at));
    Must(writer.Append(tensor, absl::MakeConstSpan(block).subspan(0, n)));
  }
  std::string sha256 = Must(writer.Finish());
  close(fd);
  return sha256;
}

void Memory(const std::string& folder) {
  constexpr int64_t kElements = 100'000'000;  // 400 MB
  std::vector<std::string> files;
  for (int i = 0; i < 3; ++i) {
    files.push_back(absl::StrCat(folder, "/update", i));
    WriteUpdate(files.back(), kElements, static_cast<float>(i));
  }
  for (size_t updates : {4, 16, 64}) {
    std::fflush(stdout);
    pid_t child = fork();  // a process of its own each, for a peak of its own
    if (child == 0) {
      std::vector<federated::Summand> summands;
      for (size_t k = 0; k < updates; ++k) {
        summands.push_back({files[k % files.size()], static_cast<int64_t>(k + 1), {{"w", 2.0}}});
      }
      auto model = Must(federated::TensorFile::Open(files[0]));
      int fd = open((folder + "/out").c_str(), O_RDWR | O_CREAT | O_TRUNC, 0600);
      double seconds = CpuSeconds([&] {
        auto sum = Must(federated::StreamingSum::Open(summands, {}));
        auto out = Must(
            federated::TensorWriter::Create(fd, {{"w", federated::Dtype::kF32, {kElements}}}, {}));
        Must(federated::Step(federated::Strategy::kFedAvg, {}, model, 1, sum, out));
      });
      rusage usage{};
      getrusage(RUSAGE_SELF, &usage);
      std::printf(
          "%2zu updates of 400 MB          %6.2f GB/s per core, files to model, peak RSS %ld MB\n",
          updates, static_cast<double>(updates) * kElements * 4 / 1e9 / seconds,
          usage.ru_maxrss / 1024);
      std::fflush(stdout);
      _exit(0);
    }
    waitpid(child, nullptr, 0);
  }
}

void EmptyRound(const std::string& folder) {
  using namespace training;
  constexpr int kNodes = 20, kRounds = 10;
  base::SetLogLevel(base::Level::kError);
  bench::BenchHub hub(folder);

  v1::Plan plan;
  plan.set_strategy(v1::STRATEGY_FEDAVG);
  plan.set_rounds(kRounds);
  (*plan.mutable_model()->mutable_tensors())["w"].add_shape(1);
  std::vector<std::string> names;
  for (int i = 0; i < kNodes; ++i) names.push_back(absl::StrCat("node-", i));
  const std::string update =
      Must(federated::WriteTensors({{{"w", federated::Dtype::kF64, {1}}, {1.0}}}));

  const v1::Run run = hub.Submit(plan, names);
  hub.closer.Start();
  std::atomic<bool> done = false;
  std::vector<std::thread> nodes;
  double seconds = Seconds([&] {
    for (int i = 0; i < kNodes; ++i) {
      nodes.emplace_back([&, node = names[static_cast<size_t>(i)]] {
        v1::AcquireTaskRequest ask;
        ask.set_session("session-" + node);
        while (!done) {
          const uint64_t seen = hub.changes.version();
          v1::Task task = Must(hub.tasks.Acquire(node, ask)).task();
          if (task.name().empty()) {
            hub.changes.Wait(seen, absl::Milliseconds(100));
            continue;
          }
          v1::UploadHeader header;
          header.set_task(task.name());
          header.set_lease_token(task.lease_token());
          header.set_sha256(crypto::Sha256Hex(update));
          header.set_bytes(static_cast<int64_t>(update.size()));
          header.set_examples(1);
          auto submission = Must(hub.tasks.Begin(node, header));
          Must(submission->Append(update));
          Must(submission->Finish());
        }
      });
    }
    while (Must(hub.store->ReadRun(run.name())).running()) {
      std::this_thread::sleep_for(std::chrono::milliseconds(2));
    }
  });
  done = true;
  hub.changes.Notify();
  for (std::thread& node : nodes) node.join();
  hub.closer.Stop();
  // The floor: as many durable steps as a round takes, one after the other, on the same disk. Each
  // node has a fetch, a file and a commit; the round has its set, its model and its close.
  const int steps = kNodes * 4 + 4;
  double floor = Seconds([&] {
    int fd = open((folder + "/floor").c_str(), O_RDWR | O_CREAT | O_TRUNC, 0600);
    for (int i = 0; i < steps; ++i) {
      if (write(fd, update.data(), update.size()) < 0 || fdatasync(fd) != 0) std::exit(1);
    }
    close(fd);
  });
  std::printf("empty round, 20 nodes         %6.1f ms               %d fdatasync %.1f ms (floor)\n",
              seconds / kRounds * 1000, steps, floor * 1000);
}

}  // namespace

int main(int argc, char** argv) {
  const std::string folder =
      absl::StrCat(argc > 1 ? argv[1] : "/tmp", "/oncomesh-aggregation-bench-", getpid());
  std::filesystem::create_directories(folder);
  const auto wanted = [&](absl::string_view part) {
    return argc <= 2 || std::any_of(argv + 2, argv + argc, [&](char* one) { return part == one; });
  };
  if (wanted("kernel")) Kernel();
  if (wanted("memory")) Memory(folder);
  if (wanted("round")) EmptyRound(folder);
  std::filesystem::remove_all(folder);
  return 0;
}
