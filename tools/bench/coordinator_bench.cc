// link: oncomesh::bench_hub oncomesh::relay_testing
// SPDX-License-Identifier: Apache-2.0
// Memory of the coordinator: the hub's training service takes updates over its real upload RPC with
// mutual TLS, spools them, and closes the round. One server process per number of updates, against
// the same process before the first upload. Every update is different and exists nowhere but on
// its way and in the hub's spool.
#include <grpcpp/grpcpp.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstdio>
#include <cstring>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_split.h"
#include "libs/base/log.h"
#include "libs/base/random.h"
#include "libs/crypto/digest.h"
#include "libs/rpc/channel.h"
#include "libs/rpc/identity.h"
#include "libs/rpc/service_runner.h"
#include "libs/rpc/status.h"
#include "services/relay/testing/test_mesh.h"
#include "services/training/training_service.h"
#include "tools/bench/bench.h"
#include "tools/bench/bench_hub.h"

namespace oncomesh {
namespace {

using namespace bench;  // NOLINT(google-build-using-namespace): a program of its own
using relay::testing::kTrustDomain;

constexpr char kUsage[] =
    "usage: coordinator_bench [--updates=LIST] [--mb=N] [--at-once=N] [--folder=FOLDER]\n"
    "\n"
    "  --updates  numbers of updates, by comma (4,16,64)\n"
    "  --mb       megabytes of an update (20); 400 needs 27 GB of disk for 64 updates\n"
    "  --at-once  uploads at the same time (4)\n"
    "  --folder   where the hub's files lie (/var/tmp)\n"
    "\n"
    "example: coordinator_bench --mb=400 --updates=4,16\n";

std::string NodeName(int i) { return absl::StrCat("node-", i); }

// The hub's training service with one run of one round; ends when the round is closed.
int Serve(const std::string& folder, const std::string& identity, int nodes, int64_t elements) {
  using namespace training;
  base::SetLogLevel(base::Level::kError);
  BenchHub hub(folder);
  rpc::CallGuard guard({.site = "hub", .trust_domain = kTrustDomain});
  TaskServiceImpl service(guard, hub.tasks, hub.changes);

  v1::Plan plan;
  plan.set_strategy(v1::STRATEGY_FEDAVG);
  plan.set_rounds(1);
  plan.mutable_round_deadline()->set_seconds(7200);
  (*plan.mutable_model()->mutable_tensors())["w"].add_shape(elements);
  std::vector<std::string> names;
  for (int i = 0; i < nodes; ++i) names.push_back(NodeName(i));
  const v1::Run run = hub.Submit(plan, names);

  grpc::ServerBuilder builder;
  int port = 0;
  builder.AddListeningPort("127.0.0.1:0",
                           rpc::IdentityServerCredentials(identity, rpc::Clients::kMesh), &port);
  rpc::LimitServer(builder);  // as in the product
  builder.RegisterService(&service);
  auto server = builder.BuildAndStart();
  if (server == nullptr || port == 0) return 1;
  std::printf("%d %lld\n", port, static_cast<long long>(PeakResident()));
  std::fflush(stdout);
  // A line on stdin: all updates are in. Only then is the round closed, so that both can be told.
  char line[16];
  if (std::fgets(line, sizeof(line), stdin) == nullptr) return 1;
  const int64_t uploaded = PeakResident();
  hub.closer.Start();
  while (Must(hub.store->ReadRun(run.name())).running()) {
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  }
  hub.closer.Stop();
  const bool good = Must(hub.store->ReadRun(run.name())).run.state() == v1::Run::STATE_SUCCEEDED;
  std::printf("%lld %lld %s\n", static_cast<long long>(uploaded),
              static_cast<long long>(PeakResident()), good ? "succeeded" : "failed");
  std::fflush(stdout);
  server->Shutdown(std::chrono::system_clock::now());
  return 0;
}

// An update of one tensor of floats, made in parts: the same parts again for the same number.
class Update {
 public:
  Update(int number, int64_t elements) : number_(number), elements_(elements) {
    std::string json = absl::StrCat(R"({"w":{"dtype":"F32","shape":[)", elements,
                                    R"(],"data_offsets":[0,)", elements * 4, "]}}");
    json.resize((json.size() + 7) / 8 * 8, ' ');
    for (size_t i = 0; i < 8; ++i) head_.push_back(static_cast<char>(json.size() >> (8 * i)));
    head_ += json;
  }
  int64_t bytes() const { return static_cast<int64_t>(head_.size()) + elements_ * 4; }

  template <typename Take>
  void Parts(Take take) const {
    take(absl::string_view(head_));
    std::vector<float> part(kPart);
    for (int64_t at = 0; at < elements_; at += kPart) {
      const size_t n = static_cast<size_t>(std::min<int64_t>(kPart, elements_ - at));
      std::fill(part.begin(), part.end(),
                1e-3f * static_cast<float>(number_ + 1) + 1e-9f * static_cast<float>(at));
      take(absl::string_view(reinterpret_cast<const char*>(part.data()), n * 4));
    }
  }

 private:
  static constexpr int64_t kPart = 256 << 10;  // 1 MiB
  const int number_;
  const int64_t elements_;
  std::string head_;
};

void Upload(training::v1::TaskService::Stub& stub, int number, int64_t elements) {
  namespace v1 = training::v1;
  v1::AcquireTaskRequest ask;
  ask.set_session("session-" + NodeName(number));
  v1::AcquireTaskResponse task;
  {
    grpc::ClientContext context;
    context.set_wait_for_ready(true);
    rpc::SetDeadline(context, absl::Minutes(1));
    Must(rpc::FromGrpc(stub.AcquireTask(&context, ask, &task)));
  }
  if (!task.has_task()) Fail("the hub has no task for " + NodeName(number));
  const Update update(number, elements);
  crypto::Sha256 hash;
  update.Parts([&](absl::string_view part) { hash.Update(part); });
  v1::UploadUpdateRequest request;
  v1::UploadHeader& header = *request.mutable_header();
  header.set_task(task.task().name());
  header.set_lease_token(task.task().lease_token());
  header.set_sha256(hash.FinishHex());
  header.set_bytes(update.bytes());
  header.set_examples(number + 1);
  grpc::ClientContext context;
  rpc::SetDeadline(context, absl::Hours(1));
  v1::UploadUpdateResponse response;
  auto writer = stub.UploadUpdate(&context, &response);
  bool open = writer->Write(request);
  update.Parts([&](absl::string_view part) {
    request.mutable_chunk()->assign(part.data(), part.size());
    open = open && writer->Write(request);
  });
  request.mutable_finish();
  open = open && writer->Write(request);
  writer->WritesDone();
  Must(rpc::FromGrpc(writer->Finish()));
}

int Main(int argc, char** argv) {
  setenv("GRPC_VERBOSITY", "NONE", 0);
  rpc::AllowOnlyTls13();
  bench::IgnoreLockCycles();
  if (argc == 6 && std::strcmp(argv[1], "--serve") == 0) {
    return Serve(argv[2], argv[3], std::atoi(argv[4]), std::atoll(argv[5]));
  }
  Options options(argc, argv, kUsage);
  const std::string updates = options.Text("updates", "4,16,64");
  const int megabytes = options.Int("mb", 20);
  const int at_once = options.Int("at-once", 4);
  const std::string folder = options.Text("folder", "/var/tmp");
  options.Done();

  const int64_t elements = int64_t{megabytes} * 250'000;
  std::vector<double> peaks;
  for (absl::string_view text : absl::StrSplit(updates, ',')) {
    int count = 0;
    if (!absl::SimpleAtoi(text, &count) || count < 1) Fail("what number of updates is that?");
    const Scratch scratch(folder);  // its gigabytes go before the next number's come
    relay::testing::TestAuthority authority(scratch.path(), "ca");
    Process server({Self(), "--serve", scratch.path(), authority.Identity("hub/training"),
                    absl::StrCat(count), absl::StrCat(elements)},
                   scratch / "log.txt");
    int port = 0;
    long long before = 0, uploaded = 0, closed = 0;
    std::sscanf(server.Line().c_str(), "%d %lld", &port, &before);
    const double start = Now(), cpu = CpuOf(server.pid());
    std::atomic<int> next = 0;
    std::vector<std::thread> threads;
    for (int i = 0; i < std::min(at_once, count); ++i) {
      threads.emplace_back([&] {
        for (int number = next++; number < count; number = next++) {
          const std::string path = absl::StrCat("node/", NodeName(number), "/training");
          auto stub = training::v1::TaskService::NewStub(
              rpc::Connect({.target = absl::StrCat("127.0.0.1:", port),
                            .identity_dir = authority.Identity(path),
                            .trust_domain = kTrustDomain,
                            .peer = "hub/training",
                            .node = ""}));
          Upload(*stub, number, elements);
        }
      });
    }
    for (std::thread& thread : threads) thread.join();
    const double took = Now() - start, used = CpuOf(server.pid()) - cpu;
    server.Tell("close");
    const std::string last = server.Line();
    char state[16] = "";
    std::sscanf(last.c_str(), "%lld %lld %15s", &uploaded, &closed, state);
    if (std::strcmp(state, "succeeded") != 0) Fail("the round did not succeed: " + last);
    const double gigabytes = static_cast<double>(count) * megabytes / 1e3;
    peaks.push_back(static_cast<double>(closed) / 1e6);
    Row("coordinator_bench",
        absl::StrFormat("coordinator's peak memory, %d updates of %d MB over gRPC, %d at once",
                        count, megabytes, at_once),
        absl::StrFormat("%.0f MB, %.0f MB with the round closed (%.0f MB before the first); "
                        "%.1f s of CPU per GB, %.0f MB/s",
                        static_cast<double>(uploaded) / 1e6, static_cast<double>(closed) / 1e6,
                        static_cast<double>(before) / 1e6, used / gigabytes,
                        gigabytes * 1e3 / took),
        "–", true);
  }
  if (peaks.size() > 1) {
    const double ratio = peaks.back() / peaks.front();
    Row("coordinator_bench", "the last of these against the first", absl::StrFormat("%.2f×", ratio),
        "flat (≤ 1.25×)", ratio <= 1.25);
  }
  return 0;
}

}  // namespace
}  // namespace oncomesh

int main(int argc, char** argv) { return oncomesh::Main(argc, argv); }
