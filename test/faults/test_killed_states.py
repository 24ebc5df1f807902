# SPDX-License-Identifier: Apache-2.0
"""kill -9 of the hub's training service at every change of a run that can be seen: the model is the
one of the undisturbed run, byte for byte, and so is who contributed what.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from oncomesh.errors import MeshError
from oncomesh.stubs.training.v1 import training_pb2, training_pb2_grpc

from mesh_testing import signing, trainer
from mesh_testing.mesh import Mesh, call

ROUNDS = 3


def start(mesh: Mesh, datasets: dict[str, str], permit: str) -> str:
    told = {"value": 5, "seconds": 0.2}
    plan = trainer.plan(
        mesh,
        list(datasets.values()),
        rounds=ROUNDS,
        minContributors=2,
        roundDeadline="120s",
        hyperparameters=told,
    )
    return str(mesh.submit(plan, permit).document["name"])


def model_of(mesh: Mesh, run: str) -> bytes:
    path = mesh.folder.parent / f"{run}.safetensors"
    mesh.ask("researcher", "run", "model", run, "--out", str(path), "--force")
    return path.read_bytes()


def records_of(mesh: Mesh, run: str) -> list[dict[str, Any]]:
    """What went into each round and what came out, without names and times of the run."""
    stub = training_pb2_grpc.TrainingServiceStub(mesh.front_door("hub"))
    found = []
    for number in range(1, ROUNDS + 1):
        request = training_pb2.GetRoundManifestRequest(run=run, round=number)
        answer = call(stub.GetRoundManifest, request, metadata=mesh.bearer("researcher"))
        payload = signing.payload_of(answer.jws)
        found.append({key: payload[key] for key in ("contributors", "dropped", "grids", "output")})
    return found


def seen(run: training_pb2.Run) -> tuple[object, ...]:
    """What of a run is durable and can be seen to change."""
    rounds = tuple(
        (entry.number, entry.state, tuple((c.node, c.state) for c in entry.contributions))
        for entry in run.rounds
    )
    return run.state, rounds


def test_killed_at_every_change(mesh: Mesh, datasets: dict[str, str], tmp_path: Path) -> None:
    permit = mesh.permit(datasets.values(), "train")
    calm = start(mesh, datasets, permit)
    assert mesh.ended(calm)["state"] == "SUCCEEDED"

    run = start(mesh, datasets, permit)
    stub = training_pb2_grpc.TrainingServiceStub(mesh.front_door("hub"))
    bearer = mesh.bearer("researcher")
    known: set[tuple[object, ...]] = set()
    deadline = time.monotonic() + 90
    while time.monotonic() < deadline:
        try:
            request = training_pb2.GetRunRequest(name=run)
            now = call(stub.GetRun, request, metadata=bearer, timeout=5).run
        except MeshError as error:
            assert error.code in ("UNAVAILABLE", "DEADLINE_EXCEEDED"), error
            continue
        if now.state != training_pb2.Run.STATE_RUNNING:
            break
        if seen(now) not in known:
            known.add(seen(now))
            mesh.kill("hub", "training")
            mesh.start("hub", "training")
    ended = mesh.ended(run, 120)
    assert ended["state"] == "SUCCEEDED", ended
    assert len(known) >= 2 * ROUNDS, known
    assert model_of(mesh, run) == model_of(mesh, calm)
    assert records_of(mesh, run) == records_of(mesh, calm)
