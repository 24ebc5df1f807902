# SPDX-License-Identifier: Apache-2.0
"""Training runs and the models that come out."""

from __future__ import annotations

import hashlib
import os
import time
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from google.protobuf import json_format
from numpy.typing import NDArray

from oncomesh.display import Shown, html_table, text_of, text_table, time_of
from oncomesh.errors import (
    FailedPreconditionError,
    InvalidArgumentError,
    MeshError,
    UnauthenticatedError,
    mesh_error,
)
from oncomesh.front_door import FrontDoor, is_passing
from oncomesh.progress import Progress
from oncomesh.stubs.training.v1 import plan_pb2, training_pb2, training_pb2_grpc

if TYPE_CHECKING:
    PlanLike = plan_pb2.Plan | Mapping[str, Any] | str | os.PathLike[str]

Tensors = dict[str, NDArray[np.floating]]

# A watch is one call after the other of this length, so that none lives longer than its token.
_WATCH_SECONDS = 240.0
_DOWNLOAD_SECONDS = 600.0
_TRIES = 6
_MAX_PLAN_BYTES = 256 << 10


def merged(known: training_pb2.Run, news: training_pb2.Run) -> training_pb2.Run:
    """The run as `news` has it, with the rounds that only `known` has in front."""
    first = news.rounds[0].number if news.rounds else None
    out = training_pb2.Run()
    out.CopyFrom(news)
    del out.rounds[:]
    out.rounds.extend(r for r in known.rounds if first is None or r.number < first)
    out.rounds.extend(news.rounds)
    return out


def read_run(door: FrontDoor, name: str) -> training_pb2.Run:
    """A run with all of its rounds, in as many calls as they need."""
    stub = training_pb2_grpc.TrainingServiceStub(door.channel)
    request = training_pb2.GetRunRequest(name=name)
    run = training_pb2.Run()
    while True:
        answer = door.call(stub.GetRun, request)
        run = merged(run, answer.run)
        if answer.next_round == 0:
            return run
        request.from_round = answer.next_round


class Round:
    """One round of a run: `number` 0 sums statistics, 1… train, the last one evaluates."""

    def __init__(self, message: training_pb2.Round) -> None:
        self._message = message
        self.number: int = message.number
        self.kind: str = training_pb2.Round.Kind.Name(message.kind).removeprefix("KIND_")
        self.state: str = training_pb2.Round.State.Name(message.state).removeprefix("STATE_")
        self.metrics: dict[str, float] = dict(message.metrics)
        self.examples: int = message.examples
        self.model_sha256: str = message.model_sha256
        self.contributors = tuple(
            c.node for c in message.contributions if c.state == training_pb2.Contribution.STATE_DONE
        )
        # By node: why it is not among the contributors.
        self.dropped = {
            c.node: c.reason
            for c in message.contributions
            if c.state == training_pb2.Contribution.STATE_DROPPED
        }
        # By node: its own metrics; the round's are their means weighted by examples.
        self.node_metrics = {c.node: dict(c.metrics) for c in message.contributions if c.metrics}
        self.opened = time_of(message.open_time)
        self.closed = time_of(message.close_time)

    @property
    def seconds(self) -> float | None:
        """From opening to closing."""
        if self.opened is None or self.closed is None:
            return None
        return (self.closed - self.opened).total_seconds()

    def __repr__(self) -> str:
        return f"<round {self.number} {self.kind.lower()} {self.state.lower()} {self.metrics}>"


class Run:
    """A federated run. What it shows is the state at its last `refresh`, `watch` or `wait`."""

    def __init__(self, door: FrontDoor, message: training_pb2.Run) -> None:
        self._door = door
        self._stub = training_pb2_grpc.TrainingServiceStub(door.channel)
        self._message = message

    @property
    def name(self) -> str:
        """Of the run, "run-…"."""
        return self._message.name

    @property
    def state(self) -> str:
        """RUNNING, SUCCEEDED, FAILED or CANCELLED."""
        return training_pb2.Run.State.Name(self._message.state).removeprefix("STATE_")

    @property
    def reason(self) -> str:
        """Why it failed; empty otherwise."""
        return self._message.reason

    @property
    def ended(self) -> bool:
        """Nothing more will happen to it."""
        return self.state != "RUNNING"

    @property
    def plan(self) -> plan_pb2.Plan:
        """What it was told to do."""
        return self._message.plan

    @property
    def permit(self) -> str:
        """Id of the permit it runs under."""
        return self._message.permit

    @property
    def created(self) -> datetime | None:
        """When it was submitted."""
        return time_of(self._message.create_time)

    @property
    def rounds(self) -> list[Round]:
        """Rounds so far, in order."""
        return [Round(r) for r in self._message.rounds]

    @property
    def metrics(self) -> dict[str, float]:
        """Of the newest round that has some."""
        for r in reversed(self.rounds):
            if r.metrics:
                return r.metrics
        return {}

    @property
    def message(self) -> training_pb2.Run:
        """The wire message, for everything not wrapped here."""
        return self._message

    def refresh(self) -> Run:
        """Asks the hub for the state now."""
        self._message = read_run(self._door, self.name)
        return self

    def updates(self) -> Iterator[Run]:
        """Yields the run, refreshed, after every change until it has ended.

        Outlives failures of the line.
        """
        failures = 0
        while not self.ended:
            rounds = self._message.rounds
            request = training_pb2.WatchRunRequest(
                name=self.name, from_round=rounds[-1].number if rounds else 0
            )
            try:
                for answer in self._door.stream(
                    self._stub.WatchRun, request, timeout=_WATCH_SECONDS
                ):
                    failures = 0
                    self._message = merged(self._message, answer.run)
                    yield self
                    if answer.run.state != training_pb2.Run.STATE_RUNNING:
                        return
            except MeshError as error:
                passing = is_passing(error) or isinstance(error, UnauthenticatedError)
                # That a watch ran to its deadline without a change is no failure.
                failures += error.code != "DEADLINE_EXCEEDED"
                if not passing or failures >= _TRIES:
                    raise
                time.sleep(min(0.25 * 2**failures, 5.0) if failures else 0.0)
            else:
                # A server that ends the stream early is asked again, in peace.
                self.refresh()
                time.sleep(0.25)

    def watch(self, progress: bool = True) -> Run:
        """Waits until the run has ended, with a progress bar.

        Raises FailedPreconditionError with the run's reason when it failed or was cancelled.
        """
        plan = self.plan
        total = plan.rounds + plan.HasField("statistics") + plan.HasField("evaluate")
        with Progress(self.name, total, "rounds", progress) as bar:
            bar.show(self._closed_rounds(), self._remark())
            for _ in self.updates():
                bar.show(self._closed_rounds(), self._remark())
        if self.state != "SUCCEEDED":
            raise FailedPreconditionError(
                "FAILED_PRECONDITION",
                self.reason or f"RUN_{self.state}",
                self._message.message or f"the run has ended as {self.state}",
                {"run": self.name},
            )
        return self

    def cancel(self) -> Run:
        """Ends the run; one that has ended stays as it is."""
        request = training_pb2.CancelRunRequest(name=self.name)
        self._message = self._door.call(self._stub.CancelRun, request).run
        return self

    def model(self, round: int | None = None, progress: bool = False) -> Tensors:  # noqa: A002
        """The tensors of the newest global model, or of the one that came out of `round`.

        Raises FailedPreconditionError MODEL_NOT_READY while there is none.
        """
        digest = self._message.model_sha256
        if round is not None:
            digest = next((r.model_sha256 for r in self.rounds if r.number == round), "")
        if not digest:
            raise FailedPreconditionError(
                "FAILED_PRECONDITION",
                "MODEL_NOT_READY",
                "there is no model yet; watch() the run, or name a round that has closed",
            )
        return load_tensors(download_model(self._door, digest, progress))

    def statistics(self) -> Tensors:
        """The sums of the statistics round, which models are standardised with."""
        return self.model(round=0)

    def save_model(
        self, path: str | os.PathLike[str], progress: bool = False, *, force: bool = False
    ) -> Path:
        """Writes the newest model as a safetensors file, which appears when it is complete.

        Raises FailedPreconditionError OUTPUT_EXISTS for a file that is there, unless `force`.
        """
        digest = self._message.model_sha256
        if not digest:
            self.model()  # raises
        target = Path(path)
        if not force and os.path.lexists(target):  # said before the download
            raise _output_exists()
        partial = target.with_name(f".{target.name}.{uuid.uuid4().hex}.partial")
        try:
            partial.write_bytes(download_model(self._door, digest, progress))
            if force:
                partial.replace(target)
            else:
                os.link(partial, target)  # unlike a rename it never replaces
        except FileExistsError:
            raise _output_exists() from None
        finally:
            partial.unlink(missing_ok=True)
        return target

    def manifest(self, round: int) -> str:  # noqa: A002
        """The signed record of a closed round (compact JWS)."""
        request = training_pb2.GetRoundManifestRequest(run=self.name, round=round)
        return self._door.call(self._stub.GetRoundManifest, request).jws

    def _closed_rounds(self) -> int:
        return sum(r.state == training_pb2.Round.STATE_CLOSED for r in self._message.rounds)

    def _remark(self) -> str:
        parts = []
        if self._message.rounds:
            last = Round(self._message.rounds[-1])
            contributions = self._message.rounds[-1].contributions
            if last.state == "OPEN" and contributions:
                parts.append(f"{len(last.contributors)} of {len(contributions)} nodes")
        parts += [f"{name} {text_of(value)}" for name, value in sorted(self.metrics.items())]
        return ", ".join(parts)

    def __repr__(self) -> str:
        return text_table(*self._cells())

    def _repr_html_(self) -> str:
        return html_table(*self._cells())

    def _cells(self) -> tuple[str, list[str], list[list[object]]]:
        rounds = self.rounds
        names = sorted({name for r in rounds for name in r.metrics})
        why = f" ({self.reason})" if self.reason else ""
        title = f"{self.name}: {self.plan.name or 'run'}, {self.state.lower()}{why}"
        heads = ["round", "kind", "state", "nodes", "examples", *names, "s", "dropped"]
        rows: list[list[object]] = [
            [
                r.number,
                r.kind.lower(),
                r.state.lower(),
                len(r.contributors),
                r.examples,
                *(r.metrics.get(name) for name in names),
                r.seconds,
                [f"{node}: {reason}" for node, reason in r.dropped.items()],
            ]
            for r in rounds
        ]
        return title, heads, rows


RUN_COLUMNS = [
    ("run", lambda r: r.name),
    ("plan", lambda r: r.plan.name),
    ("state", lambda r: r.state.lower()),
    ("reason", lambda r: r.reason),
    ("permit", lambda r: r.permit),
    ("submitted", lambda r: r.created),
]


@dataclass(frozen=True, repr=False)
class Model(Shown):
    """A model of the registry with its lineage. `Mesh.model` fetches its tensors."""

    sha256: str  # its name
    bytes: int
    run: str
    round: int
    final: bool  # of the last round of a run that succeeded
    parent_sha256: str  # the model of the round before; empty for the first
    plan_sha256: str
    trainer_digest: str
    permit: str
    datasets: tuple[str, ...]
    contributors: tuple[str, ...]  # nodes
    manifest_sha256: str
    owner: str
    created: datetime | None

    @classmethod
    def of(cls, model: training_pb2.Model) -> Model:
        """From the wire."""
        return cls(
            sha256=model.sha256,
            bytes=model.bytes,
            run=model.run,
            round=model.round,
            final=model.final,
            parent_sha256=model.parent_sha256,
            plan_sha256=model.plan_sha256,
            trainer_digest=model.trainer_digest,
            permit=model.permit,
            datasets=tuple(model.datasets),
            contributors=tuple(model.contributors),
            manifest_sha256=model.manifest_sha256,
            owner=model.owner,
            created=time_of(model.create_time),
        )

    def _title(self) -> str:
        return f"Model {self.sha256}"

    def _facts(self) -> list[tuple[str, object]]:
        return [
            ("run", self.run),
            ("round", self.round),
            ("final", self.final),
            ("owner", self.owner),
            ("permit", self.permit),
            ("datasets", self.datasets),
            ("contributors", self.contributors),
            ("bytes", self.bytes),
            ("parent", self.parent_sha256),
            ("plan", self.plan_sha256),
            ("trainer", self.trainer_digest),
            ("manifest", self.manifest_sha256),
            ("made", self.created),
        ]


MODEL_COLUMNS = [
    ("model", lambda m: m.sha256[:16]),
    ("run", lambda m: m.run),
    ("round", lambda m: m.round),
    ("final", lambda m: m.final),
    ("datasets", lambda m: len(m.datasets)),
    ("contributors", lambda m: m.contributors),
    ("bytes", lambda m: m.bytes),
    ("made", lambda m: m.created),
]


def read_plan(plan: PlanLike) -> plan_pb2.Plan:
    """A plan from its JSON file, a dict of its JSON, or the message itself.

    Raises InvalidArgumentError PLAN_INVALID; the hub checks what the plan says.
    """
    import json

    if isinstance(plan, plan_pb2.Plan):
        return plan
    if not isinstance(plan, Mapping):
        try:
            content = Path(plan).read_bytes()
        except OSError as error:
            raise _plan_invalid("the file cannot be read") from error
        if len(content) > _MAX_PLAN_BYTES:
            raise _plan_invalid("it is larger than 256 KiB")
        try:
            plan = json.loads(content)
        except ValueError as error:
            raise _plan_invalid(f"it is not JSON: {error}") from None
        if not isinstance(plan, Mapping):
            raise _plan_invalid("it is not a JSON object")
    document = dict(plan)
    strategy = document.get("strategy")
    if isinstance(strategy, str) and not strategy.startswith("STRATEGY_"):
        document["strategy"] = f"STRATEGY_{strategy}"
    try:
        return json_format.ParseDict(document, plan_pb2.Plan())
    except json_format.ParseError as error:
        raise _plan_invalid(str(error)) from None


def download_model(door: FrontDoor, sha256: str, progress: bool = False) -> bytes:
    """A model's bytes, taken up where the line broke, and checked against its digest.

    Raises MeshError, with DATA_LOSS (MODEL_HASH_MISMATCH) when the content is another one.
    """
    stub = training_pb2_grpc.TrainingServiceStub(door.channel)
    content = bytearray()
    bar: Progress | None = None
    failures = 0
    try:
        while True:
            request = training_pb2.DownloadModelRequest(sha256=sha256, offset=len(content))
            try:
                for part in door.stream(stub.DownloadModel, request, timeout=_DOWNLOAD_SECONDS):
                    kind = part.WhichOneof("part")
                    if kind == "header":
                        bar = bar or Progress("model", part.header.bytes, "B", progress)
                    elif kind == "chunk":
                        content += part.chunk
                        if bar is not None:
                            bar.show(len(content))
                    elif kind == "finish":
                        return _checked(bytes(content), sha256)
                raise mesh_error("UNAVAILABLE", "DOWNLOAD_CUT", "the download ended too early")
            except MeshError as error:
                failures += 1
                if not is_passing(error) or failures >= _TRIES:
                    raise
                time.sleep(min(0.25 * 2**failures, 5.0))
    finally:
        if bar is not None:
            bar.__exit__(None, None, None)


def load_tensors(content: bytes) -> Tensors:
    """The tensors of a safetensors file by name."""
    from safetensors.numpy import load

    return dict(load(content))


def _checked(content: bytes, sha256: str) -> bytes:
    if hashlib.sha256(content).hexdigest() != sha256:
        raise mesh_error(
            "DATA_LOSS", "MODEL_HASH_MISMATCH", "the model is not what its digest says; try again"
        )
    return content


def _output_exists() -> MeshError:
    return mesh_error(
        "ALREADY_EXISTS",
        "OUTPUT_EXISTS",
        "the output is there already; choose another name, or use force=True",
    )


def _plan_invalid(what: str) -> InvalidArgumentError:
    return InvalidArgumentError(
        "INVALID_ARGUMENT", "PLAN_INVALID", f"the plan cannot be used: {what}"
    )
