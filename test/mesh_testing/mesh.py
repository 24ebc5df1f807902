# SPDX-License-Identifier: Apache-2.0
"""A mesh of real processes in a folder, and everybody who has something to do with it."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import time
import urllib.request
import uuid
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import grpc
from google.protobuf.message import Message
from oncomesh.errors import MeshError, from_rpc
from oncomesh.stubs.access.v1 import people_pb2, people_pb2_grpc

ROOT = Path(__file__).resolve().parents[2]
BINARIES = Path(os.environ.get("ONCOMESH_BINARY_DIR", ROOT / "build" / "release")) / "bin"
PROGRAM = BINARIES / "oncomesh"
ENVIRONMENT = ROOT / "build" / "venv"

T = TypeVar("T")
Request = TypeVar("Request", bound=Message)
Response = TypeVar("Response", bound=Message)
Metadata = Sequence[tuple[str, str]]


@dataclass(frozen=True)
class Outcome:
    """How a command ended."""

    words: tuple[str, ...]
    status: int
    out: str
    err: str
    seconds: float

    @property
    def document(self) -> Any:
        """What it printed with -o json."""
        return json.loads(self.out)

    @property
    def reason(self) -> str:
        """The reason of the error that it told, or an empty text."""
        for line in self.err.splitlines():
            if line.startswith("error: "):
                return line.split(":")[1].strip()
        return ""

    def __str__(self) -> str:
        return f"`oncomesh {' '.join(self.words)}` ended with {self.status}\n{self.out}\n{self.err}"


def until(what: str, probe: Callable[[], T | None], seconds: float = 20, pause: float = 0.05) -> T:
    """What `probe` returns as soon as that is something; fails the test when time runs out."""
    deadline = time.monotonic() + seconds
    while True:
        found = probe()
        if found:
            return found
        if time.monotonic() > deadline:
            raise AssertionError(f"after {seconds:g} s still not: {what}")
        time.sleep(pause)


def call(
    method: Callable[..., Response],
    request: Message,
    *,
    metadata: Metadata = (),
    timeout: float = 10,
) -> Response:
    """One unary call. Raises MeshError."""
    try:
        return method(request, timeout=timeout, metadata=tuple(metadata))
    except grpc.RpcError as error:
        raise from_rpc(error, "the mesh") from None


def refusal(action: Callable[..., object], *values: Any, **named: Any) -> MeshError:
    """The error with which the call of `action` must end."""
    try:
        answer = action(*values, **named)
    except MeshError as error:
        return error
    except grpc.RpcError as error:
        return from_rpc(error, "the mesh")
    raise AssertionError(f"this was allowed, and answered {answer!r:.300}")


class Mesh:
    """A hub and nodes below `folder`. Everything a command answered is kept in `transcript`."""

    def __init__(self, folder: Path, nodes: Iterable[str]) -> None:
        self.folder = folder
        self.nodes = tuple(nodes)
        self.transcript: list[Outcome] = []
        self.errors: list[MeshError] = []
        self._channels: list[grpc.Channel] = []

    # Processes.

    def up(self) -> None:
        """Makes the mesh when it does not exist, and starts what does not run."""
        self.run(
            None,
            "up",
            "--dir",
            str(self.folder),
            "--nodes",
            ",".join(self.nodes),
            "--trainer-environment",
            str(ENVIRONMENT),
            "--detach",
        )

    def down(self) -> None:
        """Ends every process, also a frozen one, at once."""
        for channel in self._channels:
            channel.close()
        self._channels.clear()
        if not (self.folder / "mesh.json").exists():
            return
        for site, service in self.services():
            if self.is_running(site, service):
                os.kill(self.pid(site, service), signal.SIGKILL)

    def services(self) -> list[tuple[str, str]]:
        """Site and service of every process."""
        layout = json.loads((self.folder / "mesh.json").read_text())
        return [(entry["site"], entry["service"]) for entry in layout["processes"]]

    def address(self, site: str, service: str, port: str = "listen") -> str:
        """Where a port of a service is."""
        layout = json.loads((self.folder / "mesh.json").read_text())
        for entry in layout["processes"]:
            if (entry["site"], entry["service"]) == (site, service):
                return f"127.0.0.1:{entry['ports'][port]}"
        raise KeyError(f"{site}/{service}")

    def pid(self, site: str, service: str) -> int:
        """The process of a service as `up` noted it; 0 when it did not."""
        try:
            return int((self.folder / site / "run" / f"{service}.pid").read_text())
        except (OSError, ValueError):
            return 0

    def is_running(self, site: str, service: str) -> bool:
        """Whether that process is there and is the service.

        One that ends loses its command line first and its ports last, with its last thread; the
        first may be a zombie long before.
        """
        process = Path(f"/proc/{self.pid(site, service)}")
        try:
            state = (process / "stat").read_text().rpartition(")")[2].split()[0]
            threads = len(list((process / "task").iterdir()))
            command = (process / "cmdline").read_bytes()
        except OSError:
            return False
        if state in "ZX" and threads <= 1:
            return False
        return not command or f"oncomesh-{service}".encode() in command

    def signal(self, site: str, service: str, number: int) -> None:
        """Sends a signal; after SIGKILL and SIGTERM waits for the end."""
        os.kill(self.pid(site, service), number)
        if number in (signal.SIGKILL, signal.SIGTERM):
            until(f"{site}/{service} ended", lambda: not self.is_running(site, service), 30)

    def kill(self, site: str, *services: str) -> None:
        """Kill -9."""
        for service in services:
            self.signal(site, service, signal.SIGKILL)

    def configure(self, site: str, service: str, change: Callable[[dict[str, Any]], None]) -> None:
        """Changes a configuration; `start` uses it, `up` writes it anew."""
        path = self.folder / site / "config" / f"{service}.json"
        config = json.loads(path.read_text())
        change(config)
        path.write_text(json.dumps(config, indent=2))

    def start(self, site: str, *services: str, around: Sequence[str] = ()) -> None:
        """Starts services with their configuration as it stands, and waits until they serve."""
        for service in services:
            role = "hub" if site == "hub" else "node"
            config = self.folder / site / "config" / f"{service}.json"
            with (self.folder / site / "log" / f"{service}.log").open("ab") as log:
                process = subprocess.Popen(
                    [
                        *around,
                        BINARIES / f"oncomesh-{service}",
                        f"--role={role}",
                        f"--config={config}",
                    ],
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    start_new_session=True,
                )
            (self.folder / site / "run" / f"{service}.pid").write_text(f"{process.pid}\n")
        for service in services:
            self._await_serving(site, service)
        if self.is_running(site, "relay"):
            for service in services:
                name = "access" if service == "relay" else service
                until(f"{site}/{name} is reached", partial(self._is_reached, site, name), 60)

    def _await_serving(self, site: str, service: str) -> None:
        """Waits until a service that was started serves; says what it logged when it does not."""

        def serves() -> bool:
            assert self.is_running(site, service), "it ended"
            return self.is_serving(site, service)

        try:
            until("it serves", serves, 60)
        except AssertionError as error:
            said = "\n".join(self.log_of(site, service).splitlines()[-10:])
            raise AssertionError(f"{site}/{service}: {error}; its log ends with\n{said}") from None

    def _is_reached(self, site: str, service: str) -> bool:
        """Whether the site's relay has a connection to a service again."""
        with grpc.secure_channel(
            self.address(site, "relay", "frontDoor"),
            grpc.ssl_channel_credentials(self.authority),
        ) as channel:
            # No such call: who says so is the service.
            probe: grpc.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(
                f"/oncomesh.{service}.v1.Probe/Probe"
            )
            try:
                probe(b"", timeout=2)
            except grpc.RpcError as error:
                code = from_rpc(error, "the relay").code
                return code not in ("UNAVAILABLE", "DEADLINE_EXCEEDED")
            return True

    def is_serving(self, site: str, service: str) -> bool:
        """Whether the health check says so."""
        with grpc.insecure_channel(self.address(site, service, "admin")) as channel:
            # The answer's only field: 1 is SERVING.
            check: grpc.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(
                "/grpc.health.v1.Health/Check"
            )
            try:
                return bool(check(b"", timeout=2) == b"\x08\x01")
            except grpc.RpcError:
                return False

    def metrics(self, site: str, service: str) -> str:
        """What a service tells Prometheus."""
        url = f"http://{self.address(site, service, 'metrics')}/metrics"
        with urllib.request.urlopen(url, timeout=10) as answer:
            return str(answer.read().decode())

    def metric(self, site: str, service: str, name: str) -> float:
        """The sum of a metric's series."""
        return sum(
            float(line.rsplit(maxsplit=1)[1])
            for line in self.metrics(site, service).splitlines()
            if line.split("{")[0].split(" ")[0] == name
        )

    def log_of(self, site: str, service: str) -> str:
        """What a service has written to its log."""
        return (self.folder / site / "log" / f"{service}.log").read_text()

    # Commands.

    def run(
        self,
        who: str | None,
        *words: str,
        allow: Iterable[int] = (0,),
        flags: Sequence[str] = ("-o", "json", "--quiet"),
    ) -> Outcome:
        """A command in the name of `who`."""
        environment = dict(os.environ)
        environment.pop("ONCOMESH_CONTEXT", None)
        if who is not None:
            environment["ONCOMESH_CONTEXT"] = str(self.context(who))
        started = time.monotonic()
        done = subprocess.run(
            [str(PROGRAM), *flags, *words],
            env=environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=180,
        )
        outcome = Outcome(
            words, done.returncode, done.stdout, done.stderr, time.monotonic() - started
        )
        self.transcript.append(outcome)
        assert done.returncode in tuple(allow), str(outcome)
        return outcome

    def ask(self, who: str | None, *words: str, allow: Iterable[int] = (0,)) -> Any:
        """The document that a command prints."""
        return self.run(who, *words, allow=allow).document

    def refused(self, who: str | None, *words: str) -> str:
        """The reason with which a command must fail: refused, or of wrong words."""
        outcome = self.run(who, *words, allow=(1, 2))
        assert outcome.reason, str(outcome)
        return outcome.reason

    def context(self, who: str) -> Path:
        """The context file of a person."""
        return self.folder / "contexts" / f"{who}.json"

    # Calls.

    @property
    def authority(self) -> bytes:
        """The certificate that the mesh's certificates chain to."""
        return (self.folder / "contexts" / "ca.crt").read_bytes()

    def front_door(self, site: str) -> grpc.Channel:
        """A channel to a front door, in nobody's name."""
        return self._keep(
            grpc.secure_channel(
                self.address(site, "relay", "frontDoor"),
                grpc.ssl_channel_credentials(self.authority),
            )
        )

    def as_service(self, identity: Path, address: str) -> grpc.Channel:
        """A channel of whoever holds the keys in `identity`."""
        return self._keep(
            grpc.secure_channel(
                address,
                grpc.ssl_channel_credentials(
                    self.authority,
                    (identity / "tls.key").read_bytes(),
                    (identity / "tls.crt").read_bytes(),
                ),
            )
        )

    def node_to_hub(self, node: str, service: str) -> grpc.Channel:
        """The way of a node's service to the hub, with its identity."""
        return self.as_service(
            self.folder / node / "identity" / service / "current",
            self.address(node, "relay", "uplink"),
        )

    def _keep(self, channel: grpc.Channel) -> grpc.Channel:
        self._channels.append(channel)
        return channel

    def token(self, who: str) -> str:
        """A token of the local issuer."""
        secret = (self.folder / "contexts" / f"{who}.secret").read_text().strip()
        stub = people_pb2_grpc.PeopleServiceStub(self.front_door("hub"))
        return call(stub.IssueToken, people_pb2.IssueTokenRequest(credential=secret)).token

    def bearer(self, who: str) -> Metadata:
        """What a call of a person carries."""
        return (("authorization", f"Bearer {self.token(who)}"),)

    # Steps that many stories take.

    def freeze(
        self, node: str, dataset: str = "sarcoma", where: str = 'modality in ("CT", "RTSTRUCT")'
    ) -> str:
        """Freezes what the node holds into a version and publishes it; its name."""
        made = self.ask(
            f"holder-{node}",
            "dataset",
            "create",
            dataset,
            "--title",
            f"Imaging of {node}",
            "--where",
            where,
            "--duo",
            "DUO:0000042",
        )
        self.ask(f"holder-{node}", "dataset", "publish", dataset)
        return str(made["name"])

    def request(
        self,
        datasets: Iterable[str],
        operations: str = "count,train,evaluate",
        who: str = "researcher",
    ) -> str:
        """Asks for access; the request's id."""
        until_date = time.strftime("%Y-%m-%d", time.gmtime(time.time() + 30 * 86400))
        return str(
            self.ask(
                who,
                "access",
                "request",
                "--datasets",
                ",".join(datasets),
                "--purpose",
                "DUO:0000006",
                "--title",
                "A story",
                "--operations",
                operations,
                "--until",
                until_date,
            )["id"]
        )

    def approve(self, request: str, nodes: Iterable[str]) -> str:
        """Everybody says yes; the permit's id."""
        for node in nodes:
            self.ask(f"holder-{node}", "access", "decide", request, "--approve")
        return str(self.ask("committee", "access", "decide", request, "--approve")["permitId"])

    def permit(self, datasets: Iterable[str], operations: str = "count,train,evaluate") -> str:
        """From the wish to the permit."""
        datasets = list(datasets)
        return self.approve(
            self.request(datasets, operations), {name.split("/")[1] for name in datasets}
        )

    def set_policy(self, node: str, policy: dict[str, Any]) -> None:
        """Replaces the node's policy."""
        path = self.folder.parent / f"policy-{node}.json"
        path.write_text(json.dumps(policy))
        self.ask(f"holder-{node}", "policy", "set", str(path))

    def policy(self, node: str, **changes: Any) -> dict[str, Any]:
        """Changes the node's policy; what it was before."""
        before: dict[str, Any] = self.ask(f"holder-{node}", "policy", "get")
        self.set_policy(node, {**before, **changes})
        return before

    def submit(self, plan: dict[str, Any], permit: str, allow: Iterable[int] = (0,)) -> Outcome:
        """Starts a run."""
        path = self.folder.parent / f"plan-{uuid.uuid4().hex}.json"
        path.write_text(json.dumps(plan))
        return self.run("researcher", "run", "submit", str(path), "--permit", permit, allow=allow)

    def run_of(self, name: str) -> Any:
        """What `run show` says."""
        return self.ask("researcher", "run", "show", name)

    def ended(self, name: str, seconds: float = 60) -> Any:
        """A run when it has ended."""

        def probe() -> Any:
            run = self.run_of(name)
            return run if run["state"] != "RUNNING" else None

        return until(f"{name} has ended", probe, seconds, 0.1)


def copy_of(source: Path, target: Path) -> Path:
    """A fresh copy of a folder."""
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(source, target)
    return target
