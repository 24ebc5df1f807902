// SPDX-License-Identifier: Apache-2.0
// What a trainer can and cannot do inside its sandbox.
#include "services/training/process_runner.h"

#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <catch2/catch.hpp>
#include <cstddef>
#include <filesystem>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "libs/base/files.h"
#include "libs/testing/status_matchers.h"
#include "libs/testing/temporary_folder.h"

namespace oncomesh::training {
namespace {

using absl::StatusCode;

// A job over one Python program that does what `body` says.
struct Sandboxed {
  explicit Sandboxed(std::vector<std::string> readable = {})
      : runner(ProcessRunner::Options{.memory_bytes = uint64_t{512} << 20,
                                      .tasks = 200,
                                      .file_bytes = 1 << 20,
                                      .temporary_bytes = 1 << 20,
                                      .disk_bytes = 8 << 20,
                                      .readable = std::move(readable),
                                      .path = {}}) {
    for (const char* name : {"trainer", "out", "cache", "data"}) {
      REQUIRE_OK(base::MakeDirectories(folder / name));
    }
    REQUIRE_OK(base::WriteFileAtomically(folder / "task.json", "{}"));
    REQUIRE_OK(base::WriteFileAtomically(folder / "data/image", "voxels"));
    job.trainer_folder = folder / "trainer";
    job.command = {"/usr/bin/python3", "train.py"};
    job.task_file = folder / "task.json";
    job.inputs = {{folder / "data", "/data/cases/one"}};
    job.out_folder = folder / "out";
    job.cache_folder = folder / "cache";
  }
  TrainerEnd Run(const std::string& body) {
    REQUIRE_OK(base::WriteFileAtomically(folder / "trainer/train.py", body));
    absl::StatusOr<TrainerEnd> end = runner.Run(job, [] { return true; });
    REQUIRE_OK(end);
    INFO(end->log);
    CHECK(end->log.size() < 200'000);
    return *end;
  }
  testing::TemporaryFolder folder;
  ProcessRunner runner;
  TrainerJob job;
};

TEST_CASE("sandbox: a trainer reads its inputs and writes its output, and can do nothing else") {
  Sandboxed box;
  absl::Status available = box.runner.Check();
  if (!available.ok()) {
    WARN("no sandbox on this machine: " << available.ToString());
    return;
  }
  TrainerEnd good = box.Run(R"(
import os, json
json.load(open(os.environ['ONCOMESH_TASK']))
assert open('/data/cases/one/image').read() == 'voxels'
open('/out/result', 'w').write('done')
open('/cache/kept', 'w').write('kept')
open('/tmp/x', 'w').write('x')
open('/dev/shm/x', 'w').write('x')
open('/dev/null', 'w').write('x')
print('ok')
)");
  INFO(good.log);
  CHECK(good.succeeded);
  CHECK(good.peak_memory_bytes > 1'000'000);
  CHECK(*base::ReadFile(box.folder / "out/result") == "done");
  CHECK(*base::ReadFile(box.folder / "cache/kept") == "kept");

  // Each line is a thing that must fail inside.
  TrainerEnd bad = box.Run(absl::StrCat(R"(
import os, socket, sys
failed = []
def must_fail(name, act):
    try:
        act()
    except OSError:
        return
    failed.append(name)
must_fail('write input', lambda: open('/data/cases/one/image', 'w'))
must_fail('write trainer', lambda: open('/trainer/train.py', 'a'))
must_fail('write task', lambda: open('/work/task.json', 'w'))
must_fail('write usr', lambda: open('/usr/x', 'w'))
must_fail('passwords', lambda: open('/etc/shadow'))
must_fail('node state', lambda: os.listdir(')",
                                        box.folder.path(), R"('))
must_fail('network', lambda: socket.create_connection(('127.0.0.1', 22), 1))
must_fail('route', lambda: socket.create_connection(('192.0.2.1', 80), 1))
must_fail('signal', lambda: os.kill()",
                                        getpid(), R"(, 0))
must_fail('make folder', lambda: os.mkdir('/etc/new'))
must_fail('write root', lambda: open('/new', 'w'))
must_fail('write devices', lambda: open('/dev/new', 'w'))
must_fail('write work', lambda: open('/work/new', 'w'))
must_fail('root', lambda: os.setuid(0))
if len([e for e in os.environ if e.startswith('ONCOMESH')]) != 1: failed.append('environment')
if [i for i in os.listdir('/sys/class/net')] if os.path.isdir('/sys/class/net') else []: failed.append('interfaces')
print(failed)
sys.exit(len(failed))
)"));
  INFO(bad.log);
  CHECK(bad.succeeded);
}

TEST_CASE(
    "sandbox: memory, file size and time are limited, and a reason comes out, not a message") {
  Sandboxed box;
  if (!box.runner.Check().ok()) {
    WARN("no sandbox on this machine");
    return;
  }
  TrainerEnd hungry = box.Run(R"(
import sys
try:
    x = bytearray(1 << 30)
except MemoryError:
    sys.exit('error: OUT_OF_MEMORY: too much')
)");
  CHECK_FALSE(hungry.succeeded);
  CHECK(hungry.reason == "TRAINER_OUT_OF_MEMORY");
  TrainerEnd large = box.Run("open('/out/large', 'wb').write(b'x' * (2 << 20))");
  CHECK_FALSE(large.succeeded);
  CHECK(std::filesystem::file_size(box.folder / "out/large") <= (1 << 20));
  TrainerEnd temporary = box.Run(
      "open('/tmp/a', 'wb').write(b'x' * (1 << 20)); "
      "open('/tmp/b', 'wb').write(b'x' * (1 << 19))");
  CHECK_FALSE(temporary.succeeded);
  box.job.time_limit = absl::Milliseconds(700);
  TrainerEnd slow = box.Run("import time; time.sleep(60)");
  CHECK(slow.reason == "TRAINER_TIMEOUT");
  box.job.time_limit = absl::InfiniteDuration();
  TrainerEnd known = box.Run("import sys; sys.exit('error: MASK_MISSING: case 3 has none')");
  CHECK(known.reason == "MASK_MISSING");
  TrainerEnd invented = box.Run("import sys; sys.exit('error: PATIENT_MILLER: x')");
  CHECK(invented.reason == "TRAINER_FAILED");
}

TEST_CASE("sandbox: without bubblewrap nothing runs") {
  ProcessRunner runner(
      ProcessRunner::Options{.bubblewrap = "/no/bwrap", .readable = {}, .path = {}});
  REQUIRE_REASON(runner.Check(), StatusCode::kFailedPrecondition, "RUNNER_UNAVAILABLE");
  TrainerJob job;
  REQUIRE_REASON(runner.Run(job, [] { return true; }), StatusCode::kFailedPrecondition,
                 "RUNNER_UNAVAILABLE");
}

// The numbers of the system calls on x86-64; elsewhere the same names have others.
#if defined(__x86_64__)
TEST_CASE("sandbox: system calls that a computation never needs are refused") {
  Sandboxed box;
  if (!box.runner.Check().ok()) {
    WARN("no sandbox on this machine");
    return;
  }
  TrainerEnd end = box.Run(R"(
import ctypes, errno, fcntl, os, socket, subprocess, sys, threading
libc = ctypes.CDLL(None, use_errno=True)
wrong = []
def call(name, number, *arguments, want=errno.EPERM):
    ctypes.set_errno(0)
    result = libc.syscall(number, *[ctypes.c_long(a) for a in arguments])
    if result != -1 or ctypes.get_errno() != want:
        wrong.append((name, result, ctypes.get_errno()))
call('ptrace', 101, 0, 0, 0, 0)
call('process_vm_readv', 310, os.getpid(), 0, 0, 0, 0, 0)
call('unshare user', 272, 0x10000000)
call('unshare net', 272, 0x40000000)
call('setns', 308, 0, 0)
call('clone into a new user namespace', 56, 0x10000000 | 17, 0, 0, 0, 0)
call('clone3', 435, 0, 0, want=errno.ENOSYS)
call('mount', 165, 0, 0, 0, 0, 0)
call('open_tree', 428, 0, 0, 0)
call('keyctl', 250, 0, 0, 0, 0, 0)
call('add_key', 248, 0, 0, 0, 0, 0)
call('bpf', 321, 0, 0, 0)
call('perf_event_open', 298, 0, 0, 0, 0, 0)
call('userfaultfd', 323, 0)
call('io_uring_setup', 425, 1, 0)
call('kexec_load', 246, 0, 0, 0, 0)
call('init_module', 175, 0, 0, 0)
call('personality', 135, 0x0040000)
call('ioctl TIOCSTI', 16, 0, 0x5412, 0)
call('ioctl TIOCSTI, upper half set', 16, 0, 0x5412 | 1 << 40, 0)
for name, family in (('packet', 17), ('vsock', 40), ('alg', 38), ('bluetooth', 31), ('xdp', 44)):
    try:
        socket.socket(family, socket.SOCK_RAW if family == 17 else socket.SOCK_STREAM)
        wrong.append((name, 'made'))
    except OSError as error:
        if error.errno != errno.EAFNOSUPPORT: wrong.append((name, error.errno))
# What programs do need goes on working.
worker = threading.Thread(target=lambda: None); worker.start(); worker.join()
if subprocess.run(['/usr/bin/true']).returncode != 0: wrong.append('subprocess')
a, b = socket.socketpair(); a.send(b'x')
if b.recv(1) != b'x': wrong.append('socketpair')
print(wrong)
sys.exit(1 if wrong else 0)
)");
  INFO(end.log);
  CHECK(end.succeeded);
}
#endif

TEST_CASE("sandbox: sockets of the machine outside, in files or abstract, are out of reach") {
  Sandboxed box;
  if (!box.runner.Check().ok()) {
    WARN("no sandbox on this machine");
    return;
  }
  const std::string name = absl::StrCat("oncomesh-test-", getpid());
  const int outside = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::copy(name.begin(), name.end(), address.sun_path + 1);
  const auto size = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + 1 + name.size());
  REQUIRE(bind(outside, reinterpret_cast<sockaddr*>(&address), size) == 0);
  REQUIRE(listen(outside, 1) == 0);
  TrainerEnd end = box.Run(absl::StrCat(R"(
import socket, sys
s = socket.socket(socket.AF_UNIX)
try:
    s.connect('\0)",
                                        name, R"(')
except ConnectionRefusedError:
    sys.exit(0)
sys.exit(1)
)"));
  close(outside);
  INFO(end.log);
  CHECK(end.succeeded);
}

TEST_CASE("sandbox: memory is limited for all processes of a trainer together") {
  Sandboxed box;
  if (!box.runner.Check().ok()) {
    WARN("no sandbox on this machine");
    return;
  }
  const absl::Time start = absl::Now();
  // Six times 150 MiB, each well below the 512 MiB that one process may have.
  TrainerEnd end = box.Run(R"(
import os, time
for i in range(6):
    if os.fork() == 0:
        kept = bytearray(150 << 20)
        for at in range(0, len(kept), 4096): kept[at] = i
        time.sleep(120)
time.sleep(120)
)");
  INFO(end.log);
  CHECK_FALSE(end.succeeded);
  CHECK(end.reason == "TRAINER_OUT_OF_MEMORY");
  CHECK(end.peak_memory_bytes > (uint64_t{512} << 20));
  CHECK(absl::Now() - start < absl::Seconds(60));

  // What they share counts once: a forked process holds its parent's pages with it.
  TrainerEnd shared = box.Run(R"(
import mmap, os
kept = mmap.mmap(-1, 200 << 20)
for at in range(0, len(kept), 4096): kept[at] = 1
ready, go = os.pipe()
for i in range(4):
    if os.fork() == 0:
        total = sum(kept[at] for at in range(0, len(kept), 4096))
        os.read(ready, 1)
        os._exit(0 if total == len(kept) // 4096 else 1)
import time
time.sleep(1.5)
os.write(go, b'1234')
for i in range(4): assert os.wait()[1] == 0
)");
  INFO(shared.reason << "\n" << shared.log);
  CHECK(shared.succeeded);
}

TEST_CASE("sandbox: a trainer that starts ever more processes is ended with all of them") {
  Sandboxed box;
  if (!box.runner.Check().ok()) {
    WARN("no sandbox on this machine");
    return;
  }
  // It doubles a few times only, so that a machine without the limit would survive the test.
  TrainerEnd end = box.Run(R"(
import os, time
for i in range(9): os.fork()
time.sleep(120)
)");
  INFO(end.log);
  CHECK_FALSE(end.succeeded);
  CHECK(end.reason == "TRAINER_PROCESSES");
}

TEST_CASE("sandbox: what a trainer keeps on the disk is limited, however it keeps it") {
  for (const char* body :
       {// Many files, each within the limit of one.
        "for i in range(64):\n  open(f'/cache/{i}', 'wb').write(b'x' * (1 << 20))",
        // In a folder that its owner may not read; the service is another owner as root only.
        "os.mkdir('/out/d')\nfor i in range(64): open(f'/out/d/{i}', 'wb').write(b'x' * (1 << "
        "20))\nif os.getuid(): os.chmod('/out/d', 0)",
        // Without names.
        "kept = []\nfor i in range(64):\n  kept.append(open('/out/x', 'wb')); os.unlink('/out/x')"
        "\n  kept[-1].write(b'x' * (1 << 20)); kept[-1].flush()",
        // Names alone.
        "for i in range(4000): open(f'/cache/{i}', 'w')",
        // Folders in folders.
        "for i in range(100):\n  os.mkdir('d'); os.chdir('d')"}) {
    CAPTURE(body);
    Sandboxed box;
    if (!box.runner.Check().ok()) {
      WARN("no sandbox on this machine");
      return;
    }
    const absl::Time start = absl::Now();
    TrainerEnd end =
        box.Run(absl::StrCat("import os, time\nos.chdir('/cache')\n", body, "\ntime.sleep(120)"));
    INFO(end.log);
    CHECK_FALSE(end.succeeded);
    CHECK(end.reason == "TRAINER_DISK");
    CHECK(absl::Now() - start < absl::Seconds(60));
  }
  // Also one that is done before anybody looks.
  Sandboxed box;
  TrainerEnd quick =
      box.Run("for i in range(9):\n  open(f'/out/{i}', 'wb').write(b'x' * (1 << 20))");
  CHECK_FALSE(quick.succeeded);
  CHECK(quick.reason == "TRAINER_DISK");
  TrainerEnd within =
      Sandboxed().Run("for i in range(5):\n  open(f'/out/{i}', 'wb').write(b'x' * (1 << 20))");
  INFO(within.log);
  CHECK(within.succeeded);
}

TEST_CASE("sandbox: an environment below /tmp can be read there, and nothing beside it") {
  testing::TemporaryFolder outside;  // below /tmp, unless TMPDIR says otherwise
  REQUIRE_OK(base::MakeDirectories(outside / "venv/lib"));
  REQUIRE_OK(base::WriteFileAtomically(outside / "venv/lib/module.py", "answer = 42\n"));
  REQUIRE_OK(base::WriteFileAtomically(outside / "secret", "x"));
  if (!absl::StartsWith(outside.path(), "/tmp/")) WARN("the temporary folder is not below /tmp");
  Sandboxed box({outside / "venv"});
  if (!box.runner.Check().ok()) {
    WARN("no sandbox on this machine");
    return;
  }
  TrainerEnd end = box.Run(absl::StrCat("import os, sys\nroot = '", outside.path(), R"('
sys.path.insert(0, root + '/venv/lib')
import module
assert module.answer == 42
assert os.listdir(root) == ['venv'], os.listdir(root)
try:
    open(root + '/venv/lib/new', 'w')
    sys.exit(1)
except OSError:
    pass
open('/tmp/own', 'w').write('x')
)"));
  INFO(end.log);
  CHECK(end.succeeded);
}

}  // namespace
}  // namespace oncomesh::training
