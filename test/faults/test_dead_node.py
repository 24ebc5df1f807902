# SPDX-License-Identifier: Apache-2.0
"""Nodes that are dead or hang: the mesh says so in time, makes nothing up, and goes on."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from typing import Any

import pytest
from oncomesh.stubs.training.v1 import training_pb2, training_pb2_grpc

from mesh_testing import signing, trainer
from mesh_testing.mesh import Mesh, call, until

CT = 'modality = "CT"'
BOTH = {"north": "ANSWERED", "south": "ANSWERED"}


@pytest.fixture(autouse=True)
def healthy(mesh: Mesh, datasets: dict[str, str]) -> Iterator[None]:
    """Whatever a story did to a node, both answer before the next one begins."""
    assert datasets
    yield
    for service in ("relay", "access", "catalogue", "training"):
        if mesh.is_running("south", service):
            mesh.signal("south", service, signal.SIGCONT)
        else:
            mesh.start("south", service)
    until("both nodes answer", lambda: states(mesh) == BOTH, 60, 0.3)


def count(mesh: Mesh, seconds: int, allow: tuple[int, ...]) -> tuple[dict[str, Any], float]:
    """The answer, and how long it took."""
    outcome = mesh.run("researcher", "count", CT, "--timeout", str(seconds), allow=allow)
    return outcome.document, outcome.seconds


def states(mesh: Mesh) -> dict[str, str]:
    answer, _ = count(mesh, 5, (0, 3))
    return {entry["node"]: entry["state"] for entry in answer["nodes"]}


def dropped(mesh: Mesh, run: str, number: int) -> list[dict[str, str]]:
    """Who is missing from a round, by its signed record."""
    stub = training_pb2_grpc.TrainingServiceStub(mesh.front_door("hub"))
    request = training_pb2.GetRoundManifestRequest(run=run, round=number)
    answer = call(stub.GetRoundManifest, request, metadata=mesh.bearer("researcher"))
    found: list[dict[str, str]] = signing.payload_of(answer.jws)["dropped"]
    return found


@pytest.mark.parametrize(
    ("service", "number"),
    [
        ("relay", signal.SIGKILL),
        ("relay", signal.SIGSTOP),
        ("catalogue", signal.SIGKILL),
        ("catalogue", signal.SIGSTOP),
        ("access", signal.SIGSTOP),
    ],
)
def test_a_count_says_who_is_missing(mesh: Mesh, service: str, number: int) -> None:
    mesh.signal("south", service, number)
    answer, seconds = count(mesh, 3, (3,))
    assert seconds < 6, "the deadline was three seconds"
    by_node = {entry["node"]: entry for entry in answer["nodes"]}
    assert (by_node["north"]["state"], by_node["north"]["value"]) == ("ANSWERED", 3)
    assert by_node["south"]["state"] == "UNREACHABLE", by_node
    assert by_node["south"].get("value") is None
    reasons = {reason["reason"] for reason in by_node["south"]["reasons"]}
    assert reasons and reasons <= {"NODE_UNREACHABLE", "NODE_TIMEOUT", "NODE_FAILED"}
    # A lower bound that is called one.
    assert answer["total"] == {"masked": True, "value": 3}


def test_no_node_at_all_gives_no_number(mesh: Mesh) -> None:
    outcome = mesh.run("researcher", "count", CT, "--nodes", "south", allow=(0,))
    assert outcome.document["total"]["value"] == 3
    mesh.kill("south", "catalogue")
    answer = mesh.run(
        "researcher", "count", CT, "--nodes", "south", "--timeout", "3", allow=(3,)
    ).document
    assert answer["total"].get("value") is None
    assert answer["total"]["masked"] is True


def test_a_run_goes_on_without_a_dead_node(mesh: Mesh, datasets: dict[str, str]) -> None:
    """Everything of the node is dead for the whole run; then it is there again."""
    both = list(datasets.values())
    permit = mesh.permit(both, "train")
    # Images are prepared in the first run; the deadlines below are for the trainer alone.
    assert mesh.ended(mesh.submit(trainer.plan(mesh, both), permit).document["name"])["state"] == (
        "SUCCEEDED"
    )
    mesh.kill("south", "relay", "access", "catalogue", "training")
    plan = trainer.plan(mesh, both, rounds=2, roundDeadline="4s", hyperparameters={"value": 2})
    run = mesh.submit(plan, permit).document["name"]
    ended = mesh.ended(run)
    assert ended["state"] == "SUCCEEDED"
    for number in (1, 2):
        assert dropped(mesh, run, number) == [{"node": "south", "reason": "DEADLINE"}]
    path = mesh.folder.parent / "without-south.safetensors"
    mesh.ask("researcher", "run", "model", run, "--out", str(path), "--force")
    assert trainer.tensor_of(path.read_bytes()) == [3.0, 2.0, 2.0]
    # Where all are asked for, none is left out.
    strict = trainer.plan(mesh, both, minContributors=2, roundDeadline="2s")
    failed = mesh.ended(mesh.submit(strict, permit).document["name"])
    assert (failed["state"], failed["reason"]) == ("FAILED", "QUORUM_NOT_REACHED")

    mesh.start("south", "access", "relay", "catalogue", "training")
    until("both nodes answer", lambda: states(mesh) == BOTH, 60, 0.3)
    again = mesh.ended(mesh.submit(trainer.plan(mesh, both), permit).document["name"])
    assert sorted(again["rounds"][0]["contributors"]) == ["north", "south"]


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP])
def test_a_node_that_dies_in_a_round_is_missed_in_that_round_alone(
    mesh: Mesh, datasets: dict[str, str], number: int
) -> None:
    both = list(datasets.values())
    permit = mesh.permit(both, "train")
    plan = trainer.plan(mesh, both, rounds=2, roundDeadline="8s", hyperparameters={"seconds": 2})
    run = mesh.submit(plan, permit).document["name"]

    def at_work() -> bool:
        nodes = mesh.run_of(run)["rounds"][0]["nodes"]
        return bool(nodes["south"]["state"] == "WORKING")

    until("south is at work", at_work, 8)
    mesh.signal("south", "training", number)
    until("round 1 is closed", lambda: len(mesh.run_of(run)["rounds"]) == 2, 20)
    if number == signal.SIGSTOP:
        mesh.signal("south", "training", signal.SIGCONT)
    else:
        mesh.start("south", "training")
    ended = mesh.ended(run)
    assert ended["state"] == "SUCCEEDED"
    assert dropped(mesh, run, 1) == [{"node": "south", "reason": "DEADLINE"}]
    assert dropped(mesh, run, 2) == []
