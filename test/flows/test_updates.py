# SPDX-License-Identifier: Apache-2.0
"""A node whose updates are wrong, late, double or not its own to give: the hub takes none of them,
and the run goes on with the others.
"""

from __future__ import annotations

import hashlib
import math
import struct
import time
from collections.abc import Iterator
from typing import Any

import pytest
from oncomesh.errors import from_rpc
from oncomesh.stubs.training.v1 import task_pb2, task_pb2_grpc, training_pb2, training_pb2_grpc

from mesh_testing import signing, trainer
from mesh_testing.mesh import Mesh, call, refusal, until

Header = task_pb2.UploadHeader
HONEST = [3.0, 7.0, 1.0]  # what the trainer makes of three cases, the value 7 and round 1


@pytest.fixture(scope="module")
def broken(mesh: Mesh, datasets: dict[str, str]) -> Iterator[Broken]:
    """The node south, whose training service is replaced by this test."""
    assert datasets
    mesh.kill("south", "training")
    yield Broken(mesh, "south")
    mesh.start("south", "training")


class Broken:
    """Plays the training service of a node, with its identity and through its relay."""

    def __init__(self, mesh: Mesh, node: str) -> None:
        self.stub = task_pb2_grpc.TaskServiceStub(mesh.node_to_hub(node, "training"))
        self.session = f"session-of-a-test-{time.monotonic_ns()}"

    def acquire(self, run: str) -> task_pb2.Task:
        def probe() -> task_pb2.Task | None:
            answer = call(self.stub.AcquireTask, task_pb2.AcquireTaskRequest(session=self.session))
            return answer.task if answer.HasField("task") else None

        task = until("south has its task", probe)
        assert task.run == run
        return task

    def upload(self, given: task_pb2.Task, content: bytes, **changes: Any) -> bool:
        """Hands an update in; `changes` are of the header. Whether it was there before."""
        finish = changes.pop("finish", True)
        chunks = changes.pop("chunks", [content])
        header = Header(
            task=given.name,
            lease_token=given.lease_token,
            sha256=hashlib.sha256(content).hexdigest(),
            bytes=len(content),
            examples=10,
            cases=1,
            metrics={"loss": 0.25},
        )
        for name, value in changes.items():
            if isinstance(value, dict):
                header.ClearField(name)
                getattr(header, name).update(value)
            else:
                setattr(header, name, value)

        def parts() -> Iterator[task_pb2.UploadUpdateRequest]:
            yield task_pb2.UploadUpdateRequest(header=header)
            for chunk in chunks:
                yield task_pb2.UploadUpdateRequest(chunk=chunk)
            if finish:
                yield task_pb2.UploadUpdateRequest(finish=task_pb2.UploadFinish())

        return bool(self.stub.UploadUpdate(parts(), timeout=10).already_accepted)


def start(mesh: Mesh, datasets: dict[str, str], **changes: Any) -> str:
    permit = mesh.permit(datasets.values(), "train")
    changes.setdefault("hyperparameters", {"value": 7})
    plan = trainer.plan(mesh, list(datasets.values()), **changes)
    return str(mesh.submit(plan, permit).document["name"])


def manifest(mesh: Mesh, run: str, number: int = 1) -> dict[str, Any]:
    """The payload of a round's signed record, its signature checked by the keys the hub shows."""
    stub = training_pb2_grpc.TrainingServiceStub(mesh.front_door("hub"))
    bearer = mesh.bearer("researcher")
    request = training_pb2.GetRoundManifestRequest(run=run, round=number)
    answer = call(stub.GetRoundManifest, request, metadata=bearer)
    assert hashlib.sha256(answer.jws.encode()).hexdigest() == answer.sha256
    return signing.payload_of(answer.jws)


def model_of(mesh: Mesh, run: str) -> list[float]:
    path = mesh.folder.parent / f"{run}.safetensors"
    mesh.ask("researcher", "run", "model", run, "--out", str(path), "--force")
    return trainer.tensor_of(path.read_bytes())


def bad_updates() -> dict[str, tuple[bytes, str]]:
    file = trainer.tensor_file
    good = file([1.0, 2.0, 3.0])
    (size,) = struct.unpack_from("<Q", good)
    return {
        "a NaN": (file([1.0, math.nan, 3.0]), "UPDATE_NOT_FINITE"),
        "an infinity": (file([math.inf, 2.0, 3.0]), "UPDATE_NOT_FINITE"),
        "a negative infinity": (file([1.0, 2.0, -math.inf]), "UPDATE_NOT_FINITE"),
        "one element less": (file([1.0, 2.0]), "UPDATE_SHAPE"),
        "another shape of as many": (file([1.0, 2.0, 3.0], shape=[3, 1]), "UPDATE_SHAPE"),
        "another name": (file([1.0, 2.0, 3.0], name="v"), "UPDATE_SHAPE"),
        "integers": (good.replace(b"F64", b"I64"), "TENSOR_DTYPE"),
        "free text beside it": (
            file([1.0, 2.0, 3.0], metadata={"note": "something else"}),
            "UPDATE_METADATA",
        ),
        "a rest after the tensors": (good + b"\0" * 8, "TENSOR_FILE_INVALID"),
        "half of the data": (good[:-12], "TENSOR_FILE_INVALID"),
        "a header longer than the file": (
            struct.pack("<Q", size + 1000) + good[8:],
            "TENSOR_FILE_INVALID",
        ),
        "no tensor file": (b"this is no tensor file, it is text", "TENSOR_FILE_INVALID"),
        "an empty object": (struct.pack("<Q", 2) + b"{}", "UPDATE_SHAPE"),
    }


def test_no_wrong_update_counts(mesh: Mesh, datasets: dict[str, str], broken: Broken) -> None:
    run = start(mesh, datasets)
    task = broken.acquire(run)
    good = trainer.tensor_file([100.0, 100.0, 100.0])
    for what, (content, reason) in bad_updates().items():
        error = refusal(broken.upload, task, content)
        assert error.reason == reason, (what, error)
        # Said once more it is not better, and nothing of it is kept.
        assert refusal(broken.upload, task, content).reason == reason, what
        state = call(
            broken.stub.GetUploadState,
            task_pb2.GetUploadStateRequest(
                task=task.name, sha256=hashlib.sha256(content).hexdigest()
            ),
        )
        assert (state.offset, state.accepted) == (0, False), what
    other = hashlib.sha256(b"something else").hexdigest()
    for what, changes, reason in (
        ("another digest", {"sha256": other}, "UPDATE_HASH_MISMATCH"),
        ("no digest", {"sha256": "0"}, "UPLOAD_INVALID"),
        ("a digest that climbs", {"sha256": "../" * 21 + "a"}, "UPLOAD_INVALID"),
        ("fewer bytes than it says", {"bytes": len(good) + 8}, "UPLOAD_INVALID"),
        ("more bytes than it says", {"bytes": len(good) - 8}, "OFFSET_INVALID"),
        ("no end", {"finish": False}, "UPLOAD_INVALID"),
        ("half of it", {"chunks": [good[:40]]}, "UPLOAD_INVALID"),
        ("a gap before it", {"offset": 1 << 40}, "OFFSET_INVALID"),
        ("a negative offset", {"offset": -1}, "OFFSET_INVALID"),
        ("a size beyond the model's", {"bytes": 1 << 40}, "UPDATE_TOO_LARGE"),
        ("a negative size", {"bytes": -5}, "UPLOAD_INVALID"),
        ("a chunk that is too large", {"chunks": [b"x" * ((1 << 20) + 1)]}, "UPLOAD_INVALID"),
        ("no examples", {"examples": 0}, "UPDATE_EXAMPLES"),
        ("too many examples", {"examples": (1 << 40) + 1}, "UPDATE_EXAMPLES"),
        ("a metric of its own", {"metrics": {"age": 61.0}}, "METRIC_NOT_ALLOWED"),
        ("a metric that is no number", {"metrics": {"loss": math.nan}}, "METRIC_NOT_ALLOWED"),
        ("no lease", {"lease_token": ""}, "LEASE_LOST"),
        ("a made-up lease", {"lease_token": "0" * 32}, "LEASE_LOST"),
        ("a task that is none", {"task": "task-aaaaaaaaaaaaaaaaaaaa"}, "TASK_NOT_FOUND"),
        ("a task that climbs", {"task": "../../../tmp/x"}, "TASK_NOT_FOUND"),
    ):
        error = refusal(broken.upload, task, good, **changes)
        assert error.reason == reason, (what, error)
    # Beginnings of ever other updates do not fill the hub's disk.
    spool = mesh.folder / "hub" / "training" / "updates"
    for number in range(20):
        begun = trainer.tensor_file([float(number)] * 3)
        refusal(broken.upload, task, begun, chunks=[begun[:60]], finish=False)
    assert len(list((spool / task.name).iterdir())) == 1
    assert mesh.run_of(run)["state"] == "RUNNING"

    # Then it gives up.
    failed = task_pb2.ReportTaskFailedRequest(
        task=task.name,
        lease_token=task.lease_token,
        reason="UPDATE_NOT_FINITE",
        outcome="OUTCOME_DROP_ROUND",
    )
    call(broken.stub.ReportTaskFailed, failed)
    shown = mesh.ended(run)
    assert shown["state"] == "SUCCEEDED"
    assert shown["rounds"][0]["contributors"] == ["north"]
    assert model_of(mesh, run) == HONEST
    signed = manifest(mesh, run)
    dropped = [entry for entry in signed["dropped"] if entry["node"] == "south"]
    assert [entry["reason"] for entry in dropped] == ["UPDATE_NOT_FINITE"], signed
    # What was thrown away is away.
    assert not [path for path in spool.rglob("*") if path.is_file()]
    # The round is over for everybody.
    assert refusal(broken.upload, task, good).reason in ("ROUND_CLOSED", "TASK_NOT_FOUND")


def test_one_update_counts_once(mesh: Mesh, datasets: dict[str, str], broken: Broken) -> None:
    # The honest node takes long enough for everything that is tried here.
    run = start(mesh, datasets, hyperparameters={"value": 7, "seconds": 3})
    task = broken.acquire(run)
    content = trainer.tensor_file([5.0, 1.0, 1.0])
    other = trainer.tensor_file([1e9, 1e9, 1e9])
    assert broken.upload(task, content) is False
    for _ in range(2):
        assert broken.upload(task, content) is True
    assert broken.upload(task, content, lease_token="forgotten") is True  # an answer that got lost
    assert refusal(broken.upload, task, other).reason == "UPDATE_CONFLICT"
    assert refusal(broken.upload, task, content, examples=20).reason == "UPDATE_CONFLICT"
    assert refusal(broken.upload, task, content, metrics={"loss": 9.0}).reason == "UPDATE_CONFLICT"
    failed = task_pb2.ReportTaskFailedRequest(
        task=task.name,
        lease_token=task.lease_token,
        reason="CHANGED_MY_MIND",
        outcome="OUTCOME_DROP_ROUND",
    )
    call(broken.stub.ReportTaskFailed, failed)  # too late: what was accepted stays
    shown = mesh.ended(run)
    assert shown["state"] == "SUCCEEDED"
    assert sorted(shown["rounds"][0]["contributors"]) == ["north", "south"]
    # Means weighted by 30 and 10 examples.
    assert model_of(mesh, run) == [3.5, 5.5, 1.0]
    assert manifest(mesh, run)["dropped"] == []


def test_a_lease_is_of_one_session(mesh: Mesh, datasets: dict[str, str], broken: Broken) -> None:
    run = start(mesh, datasets, roundDeadline="20s")
    first = broken.acquire(run)
    content = trainer.tensor_file([5.0, 1.0, 1.0])
    # Half of it comes in, then the node starts again: another session has the task now.
    refusal(broken.upload, first, content, chunks=[content[:50]], finish=False)
    broken.session += "-after-a-restart"
    second = broken.acquire(run)
    assert second.name == first.name and second.lease_token != first.lease_token
    assert refusal(broken.upload, first, content).reason == "LEASE_LOST"
    renew = task_pb2.RenewLeaseRequest(task=first.name, lease_token=first.lease_token)
    assert refusal(call, broken.stub.RenewLease, renew).reason == "LEASE_LOST"
    # It goes on where the bytes end.
    digest = hashlib.sha256(content).hexdigest()
    state = call(
        broken.stub.GetUploadState,
        task_pb2.GetUploadStateRequest(task=second.name, sha256=digest),
    )
    assert state.offset == 50
    assert state.prefix_sha256 == hashlib.sha256(content[:50]).hexdigest()
    assert broken.upload(second, content, offset=50, chunks=[content[50:]]) is False
    assert mesh.ended(run)["state"] == "SUCCEEDED"
    assert model_of(mesh, run) == [3.5, 5.5, 1.0]


def test_a_task_is_of_one_node(mesh: Mesh, datasets: dict[str, str], broken: Broken) -> None:
    """With the name and even the lease of another node's task."""
    run = start(mesh, datasets, hyperparameters={"value": 7, "seconds": 2}, roundDeadline="20s")
    task = broken.acquire(run)
    # The other node is the honest one's: what it has is read where the hub keeps it.
    north = task_pb2_grpc.TaskServiceStub(mesh.node_to_hub("north", "training"))
    assert task.datasets == [datasets["south"]]
    for attempt in (
        (
            north.RenewLease,
            task_pb2.RenewLeaseRequest(task=task.name, lease_token=task.lease_token),
        ),
        (north.GetUploadState, task_pb2.GetUploadStateRequest(task=task.name, sha256="0" * 64)),
        (
            north.ReportTaskFailed,
            task_pb2.ReportTaskFailedRequest(
                task=task.name,
                lease_token=task.lease_token,
                reason="ENVY",
                outcome="OUTCOME_LEAVE_RUN",
            ),
        ),
        (
            north.SubmitMetrics,
            task_pb2.SubmitMetricsRequest(task=task.name, lease_token=task.lease_token, examples=1),
        ),
    ):
        assert refusal(call, *attempt).reason == "TASK_NOT_FOUND"
    thief = Broken(mesh, "north")
    content = trainer.tensor_file([1e9, 1e9, 1e9])
    assert refusal(thief.upload, task, content).reason == "TASK_NOT_FOUND"
    download = task_pb2.DownloadInputRequest(task=task.name, sha256=task.model.sha256)
    with pytest.raises(Exception) as caught:
        list(north.DownloadInput(download, timeout=10))
    assert from_rpc(caught.value, "").reason == "TASK_NOT_FOUND"  # type: ignore[arg-type]
    # An input is one of the task's, not whatever the hub keeps.
    for sha256 in ("0" * 64, "", "../training.db"):
        wanted = task_pb2.DownloadInputRequest(task=task.name, sha256=sha256)
        with pytest.raises(Exception) as caught:
            list(broken.stub.DownloadInput(wanted, timeout=10))
        assert from_rpc(caught.value, "").reason == "INPUT_NOT_FOUND"  # type: ignore[arg-type]
    # Numbers instead of an update are none either.
    metrics = task_pb2.SubmitMetricsRequest(
        task=task.name, lease_token=task.lease_token, examples=1
    )
    assert refusal(call, broken.stub.SubmitMetrics, metrics).reason == "TASK_KIND"
    # The node says what is wrong with it in one word, and nothing else.
    for reason in ("", "not one word", "PATIENT 4711", "A" * 64):
        bad = task_pb2.ReportTaskFailedRequest(
            task=task.name,
            lease_token=task.lease_token,
            reason=reason,
            outcome="OUTCOME_DROP_ROUND",
        )
        assert refusal(call, broken.stub.ReportTaskFailed, bad).reason == "REASON_NEEDED"
    failed = task_pb2.ReportTaskFailedRequest(
        task=task.name,
        lease_token=task.lease_token,
        reason="OUT_OF_MEMORY",
        outcome="OUTCOME_DROP_ROUND",
    )
    call(broken.stub.ReportTaskFailed, failed)
    assert mesh.ended(run)["state"] == "SUCCEEDED"
    assert model_of(mesh, run) == HONEST
    signed = manifest(mesh, run)
    assert [(d["node"], d["reason"]) for d in signed["dropped"]] == [("south", "OUT_OF_MEMORY")]
