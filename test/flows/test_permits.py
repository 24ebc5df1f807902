# SPDX-License-Identifier: Apache-2.0
"""Permits that do not fit the use: refused at the hub, and by the node that holds the data for
itself.
"""

from __future__ import annotations

import signal
import time
import uuid
from pathlib import Path
from typing import Any

import pytest
from google.protobuf import json_format
from oncomesh.stubs.access.v1 import access_pb2, access_pb2_grpc
from oncomesh.stubs.training.v1 import (
    node_pb2,
    node_pb2_grpc,
    plan_pb2,
    training_pb2,
    training_pb2_grpc,
)

from mesh_testing import signing, trainer
from mesh_testing.mesh import Mesh, call, refusal, until


def signed(mesh: Mesh, permit: str) -> str:
    return str(mesh.ask("researcher", "permit", "export", permit)["jws"])


def submit(mesh: Mesh, plan: dict[str, Any], jws: str, who: str = "researcher") -> str:
    """Starts a run with any text as its permit; the run's name."""
    stub = training_pb2_grpc.TrainingServiceStub(mesh.front_door("hub"))
    request = training_pb2.SubmitRunRequest(
        request_id=str(uuid.uuid4()), plan=json_format.ParseDict(plan, plan_pb2.Plan())
    )
    metadata = (*mesh.bearer(who), ("oncomesh-permit", jws))
    return call(stub.SubmitRun, request, metadata=metadata).run.name


def verify(mesh: Mesh, node: str, jws: str) -> access_pb2.Permit:
    """What a node says of a permit, without asking the hub."""
    stub = access_pb2_grpc.AccessServiceStub(mesh.front_door(node))
    request = access_pb2.VerifyPermitRequest(jws=jws)
    return call(stub.VerifyPermit, request, metadata=mesh.bearer(f"holder-{node}")).permit


def runs(mesh: Mesh) -> int:
    return len(mesh.ask("operator", "run", "list")["runs"])


def tasks(mesh: Mesh, node: str, run: str) -> list[node_pb2.NodeTask]:
    """What a node says it did for a run."""
    stub = node_pb2_grpc.NodeTrainingServiceStub(mesh.front_door(node))
    answer = call(
        stub.ListTasks, node_pb2.ListTasksRequest(), metadata=mesh.bearer(f"holder-{node}")
    )
    return [task for task in answer.tasks if task.run == run]


def audited(mesh: Mesh, node: str, run: str) -> list[tuple[str, str]]:
    """Outcomes and reasons of a run's tasks in a node's log."""
    shown = mesh.ask("auditor", "audit", "show", "--site", node, "--type", "training.task")
    found = [entry.get("event") or entry for entry in shown["events"]]
    return [
        (e["outcome"], e.get("reason", "")) for e in found if e["attributes"]["run"] == run
    ]


def count_once(mesh: Mesh, node: str, state: str) -> dict[str, Any]:
    """A count as soon as the node answers with `state`: its services keep a policy for a moment."""

    def counted() -> dict[str, Any] | None:
        document = mesh.ask("researcher", "count", 'modality = "CT"', allow=(0, 3))
        found = {entry["node"]: entry["state"] for entry in document["nodes"]}
        return dict(document) if found[node] == state else None

    return until(f"{node} says {state}", counted, 10, 0.1)


def test_a_permit_is_for_what_it_says(mesh: Mesh, datasets: dict[str, str], tmp_path: Path) -> None:
    both = list(datasets.values())
    genuine = signed(mesh, mesh.permit(both, "train"))
    header, payload = signing.header_of(genuine), signing.payload_of(genuine)
    key = mesh.folder / "hub" / "access" / "permit.key"
    plan = trainer.plan(mesh, both)
    evaluating = trainer.plan(mesh, both, evaluate={"heldOut": 0.34})
    now = int(time.time())
    before = runs(mesh)

    def forged(sign_with: Path = key, typ: str = "oncomesh-permit+jwt", **changes: Any) -> str:
        claims = {
            name: value for name, value in {**payload, **changes}.items() if value is not None
        }
        return signing.sign({**header, "typ": typ}, claims, sign_with)

    def changed(jws: str) -> str:
        """With a later end, under the signature of the old text."""
        first, _, last = jws.split(".")
        later = signing.sign(header, {**payload, "exp": payload["exp"] + 1}, key).split(".")[1]
        return f"{first}.{later}.{last}"

    ed25519 = signing.new_key(tmp_path, "Ed25519")
    damaged = genuine[:-8] + ("A" if genuine[-8] != "A" else "B") + genuine[-7:]
    other = [name.replace("sarcoma", "glioma") for name in both]
    newer = [name.replace("versions/1", "versions/2") for name in both]
    # Refused by the hub; the third says whether a node that only looks at the permit refuses too.
    cases: list[tuple[str, str, bool]] = [
        (forged(datasets=other), "PERMIT_WRONG_DATASET", False),
        (forged(datasets=newer), "PERMIT_WRONG_DATASET", False),
        (forged(datasets=both[:1]), "PERMIT_WRONG_DATASET", False),
        (forged(people=["somebody-else"]), "PERMIT_NOT_FOR_PERSON", False),
        (forged(operations=["count"]), "PERMIT_OPERATION_NOT_ALLOWED", False),
        (forged(nbf=now - 60, exp=now - 1), "PERMIT_EXPIRED", True),
        (forged(nbf=now + 3600), "PERMIT_NOT_YET_VALID", True),
        (forged(iss="elsewhere.example"), "PERMIT_FOREIGN", True),
        (forged(epoch=payload["epoch"] + 1000), "EPOCH_TOO_OLD", True),
        (forged(limits={"maxRounds": 1, "maxNodes": 1}), "PERMIT_MALFORMED", True),
        (forged(comment="more than we know"), "PERMIT_MALFORMED", True),
        (forged(operations=["train", "everything"]), "PERMIT_MALFORMED", True),
        (forged(exp=None), "PERMIT_MALFORMED", True),
        (forged(typ="JWT"), "PERMIT_MALFORMED", True),
        (forged(sign_with=ed25519), "PERMIT_SIGNATURE_INVALID", True),
        (changed(genuine), "PERMIT_SIGNATURE_INVALID", True),
        (damaged, "PERMIT_SIGNATURE_INVALID", True),
        (genuine + ".", "PERMIT_MALFORMED", True),
        ("nonsense", "PERMIT_MALFORMED", True),
        ("x" * 17000, "PERMIT_MALFORMED", True),
    ]
    for jws, reason, everywhere in cases:
        error = refusal(submit, mesh, plan, jws)
        assert error.reason == reason, (jws[:400], error)
        for node in mesh.nodes if everywhere else ():
            assert refusal(verify, mesh, node, jws).reason == reason, (node, jws[:400])
    assert refusal(submit, mesh, plan, "").reason == "PERMIT_NEEDED"
    assert refusal(submit, mesh, evaluating, genuine).reason == "PERMIT_OPERATION_NOT_ALLOWED"
    rounds = forged(limits={"maxRounds": 1})
    two = trainer.plan(mesh, both, rounds=2)
    assert refusal(submit, mesh, two, rounds).reason == "PERMIT_ROUNDS_EXCEEDED"
    assert refusal(submit, mesh, plan, genuine, who="operator").reason == "ROLE_NEEDED"
    assert runs(mesh) == before
    # The means work.
    assert verify(mesh, "north", forged()).id == payload["jti"]
    assert mesh.ended(submit(mesh, plan, forged()))["state"] == "SUCCEEDED"


def test_a_revoked_permit_opens_nothing(mesh: Mesh, datasets: dict[str, str]) -> None:
    both = list(datasets.values())
    permit = mesh.permit(both)
    jws = signed(mesh, permit)
    assert verify(mesh, "south", jws).state == access_pb2.Permit.STATE_ACTIVE
    # A run that is under way ends with its permit.
    plan = trainer.plan(mesh, both, rounds=50, hyperparameters={"seconds": 0.3})
    run = submit(mesh, plan, jws)
    until("a round is closed", lambda: len(mesh.run_of(run)["rounds"]) > 1)
    # 3: nodes of other stories, which are gone, were not told.
    revoked = mesh.ask(
        "committee", "permit", "revoke", permit, "--reason", "consent withdrawn", allow=(0, 3)
    )
    assert {"north", "south"} <= set(revoked["nodesTold"])
    for node in mesh.nodes:  # at once, without waiting for anything
        assert refusal(verify, mesh, node, jws).reason == "PERMIT_REVOKED"
    ended = mesh.ended(run, 20)
    assert (ended["state"], ended["reason"]) in (
        ("FAILED", "PERMIT_REVOKED"),
        ("FAILED", "QUORUM_NOT_REACHED"),
    )
    closed = len([entry for entry in ended["rounds"] if entry["state"] == "CLOSED"])
    assert 0 < closed < 50
    assert refusal(submit, mesh, plan, jws).reason == "PERMIT_REVOKED"
    # It cannot be taken back, and who asks anew gets another one.
    assert mesh.ask("researcher", "permit", "show", permit)["state"] == "REVOKED"
    again = mesh.permit(both, "train")
    assert again != permit
    assert mesh.ended(submit(mesh, trainer.plan(mesh, both), signed(mesh, again)))["state"] == (
        "SUCCEEDED"
    )


def test_the_node_itself_refuses_a_revoked_permit(mesh: Mesh, datasets: dict[str, str]) -> None:
    """The hub has handed the task out before the revocation: now only the node can refuse."""
    both = list(datasets.values())
    permit = mesh.permit(both, "train")
    # Frozen while it waits at the hub, which gives the task to it all the same.
    mesh.signal("south", "training", signal.SIGSTOP)
    try:
        plan = trainer.plan(mesh, both, hyperparameters={"seconds": 6})
        run = submit(mesh, plan, signed(mesh, permit))

        def handed_out() -> bool:
            nodes = mesh.run_of(run)["rounds"][0]["nodes"]
            return {nodes[name]["state"] for name in nodes} == {"WORKING"}

        until("both nodes hold a task", handed_out, 15)
        initial = mesh.run_of(run)["modelSha256"]
        mesh.ask(
            "committee", "permit", "revoke", permit, "--reason", "consent withdrawn", allow=(0, 3)
        )
    finally:
        mesh.signal("south", "training", signal.SIGCONT)
    # Nor does what the other node made in the meantime count.
    ended = mesh.ended(run, 30)
    assert (ended["state"], ended.get("modelSha256")) == ("FAILED", initial)
    assert {"node": "south", "reason": "PERMIT_REVOKED"} in ended["rounds"][0]["dropped"]
    (task,) = tasks(mesh, "south", run)
    assert (task.state, task.reason) == (node_pb2.NodeTask.STATE_REFUSED, "PERMIT_REVOKED")
    assert task.update_bytes == 0
    # Its log says that it refused, and not that it began.
    assert audited(mesh, "south", run) == [("REFUSED", "PERMIT_REVOKED")]


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"trainerDigests": []}, "POLICY_TRAINER"),
        ({"purposes": ["DUO:0000007"]}, "POLICY_PURPOSE"),
        ({"maxRounds": 1}, "POLICY_MAX_ROUNDS"),
        ({"minPatients": 4}, "POLICY_MIN_PATIENTS"),
    ],
)
def test_the_policy_of_a_node_has_the_last_word(
    mesh: Mesh, datasets: dict[str, str], changes: dict[str, Any], reason: str
) -> None:
    both = list(datasets.values())
    jws = signed(mesh, mesh.permit(both, "train"))

    def contributors(rounds: int) -> tuple[str, list[list[str]]]:
        name = submit(mesh, trainer.plan(mesh, both, rounds=rounds), jws)
        ended = mesh.ended(name)
        assert ended["state"] == "SUCCEEDED"
        return name, [sorted(entry["contributors"]) for entry in ended["rounds"]]

    def without_south() -> str:
        # One that began before the policy was in force says nothing.
        name, by_round = contributors(2)
        return name if by_round == [["north"], ["north"]] else ""

    before = mesh.policy("south", **changes)
    try:
        run = until("south takes no part", without_south)
    finally:
        mesh.set_policy("south", before)
    for number in (1, 2):
        stub = training_pb2_grpc.TrainingServiceStub(mesh.front_door("hub"))
        request = training_pb2.GetRoundManifestRequest(run=run, round=number)
        answer = call(stub.GetRoundManifest, request, metadata=mesh.bearer("researcher"))
        payload = signing.payload_of(answer.jws)
        assert payload["dropped"] == [{"node": "south", "reason": reason}]
    assert audited(mesh, "south", run)[0] == ("REFUSED", reason)
    until("south takes part again", lambda: contributors(1)[1] == [["north", "south"]])


def test_a_closed_node_is_not_counted_and_says_so(mesh: Mesh, datasets: dict[str, str]) -> None:
    assert datasets
    mesh.policy("south", openCounts=False)
    try:
        counted = count_once(mesh, "south", "REFUSED")
    finally:
        mesh.policy("south", openCounts=True)
    count_once(mesh, "south", "ANSWERED")
    by_node = {entry["node"]: entry for entry in counted["nodes"]}
    assert by_node["north"]["value"] == 3
    assert by_node["south"]["state"] == "REFUSED"
    assert by_node["south"].get("value") is None
    assert [reason["reason"] for reason in by_node["south"]["reasons"]] == ["POLICY_REFUSES"]
    assert counted["total"] == {"masked": True, "value": 3}


def test_a_closed_node_counts_what_a_permit_names(mesh: Mesh, datasets: dict[str, str]) -> None:
    """And not for a permit of another node, of another kind, or that has been revoked."""
    counting = mesh.permit([datasets["south"]], "count")
    images = mesh.permit([mesh.freeze("south", "images", 'modality = "CT"')], "count")
    elsewhere = mesh.permit([datasets["north"]], "count")
    training = mesh.permit([datasets["south"]], "train")

    def south(permit: str, expression: str = 'modality = "CT"') -> dict[str, Any]:
        counted = mesh.ask("researcher", "count", expression, "--permit", permit, allow=(0, 3))
        (answer,) = [entry for entry in counted["nodes"] if entry["node"] == "south"]
        return dict(answer)

    contours = 'modality = "RTSTRUCT"'
    mesh.policy("south", openCounts=False)
    try:
        count_once(mesh, "south", "REFUSED")
        answer = south(counting)
        assert (answer["state"], answer["value"]) == ("ANSWERED", 3)
        # The node holds contours, and one of the two datasets does.
        assert south(counting, contours)["value"] == 3
        assert south(images)["value"] == 3
        answer = south(images, contours)
        assert (answer["state"], answer["value"]) == ("ANSWERED", None)
        assert south(images, f'{contours} or modality = "CT"')["value"] == 3
        assert south(images, f'modality = "CT" and patient has ({contours})')["value"] is None
        answer = south(elsewhere)
        assert answer["state"] == "REFUSED" and answer.get("value") is None
        assert [reason["reason"] for reason in answer["reasons"]] == ["POLICY_REFUSES"]
        assert mesh.refused(
            "researcher", "count", 'modality = "CT"', "--permit", training
        ) == "PERMIT_OPERATION_NOT_ALLOWED"
        mesh.ask("committee", "permit", "revoke", counting, "--reason", "done", allow=(0, 3))
        assert mesh.refused("researcher", "count", 'modality = "CT"', "--permit", counting) == (
            "PERMIT_REVOKED"
        )
    finally:
        mesh.policy("south", openCounts=True)
    count_once(mesh, "south", "ANSWERED")


def test_who_approves_may_limit_the_rounds(mesh: Mesh, datasets: dict[str, str]) -> None:
    both = list(datasets.values())
    request = mesh.request(both, "train")
    mesh.ask("holder-north", "access", "decide", request, "--approve", "--max-rounds", "2")
    mesh.ask("holder-south", "access", "decide", request, "--approve", "--max-rounds", "9")
    permit = str(mesh.ask("committee", "access", "decide", request, "--approve")["permitId"])
    assert mesh.ask("researcher", "permit", "show", permit)["maxRounds"] == 2
    jws = signed(mesh, permit)
    assert signing.payload_of(jws)["limits"] == {"maxRounds": 2}
    three = trainer.plan(mesh, both, rounds=3)
    assert refusal(submit, mesh, three, jws).reason == "PERMIT_ROUNDS_EXCEEDED"
    assert mesh.ended(submit(mesh, trainer.plan(mesh, both, rounds=2), jws))["state"] == (
        "SUCCEEDED"
    )


def test_a_node_that_has_not_heard_from_the_hub_refuses(
    mesh: Mesh, datasets: dict[str, str]
) -> None:
    """It could not know of a revocation."""
    both = list(datasets.values())
    jws = signed(mesh, mesh.permit(both, "train"))
    mesh.kill("south", "access")
    mesh.configure("south", "access", lambda config: config.update(trustPullSeconds=300))
    mesh.start("south", "access")
    try:
        mesh.policy("south", maxTrustAgeSeconds=1)
        until("the view is old", lambda: _reason(mesh, jws) == "EPOCH_TOO_OLD", 10)
        run = submit(mesh, trainer.plan(mesh, both, roundDeadline="6s"), jws)
        ended = mesh.ended(run)
        assert ended["state"] == "SUCCEEDED"
        assert ended["rounds"][0]["contributors"] == ["north"]
        assert ended["rounds"][0]["dropped"] == [{"node": "south", "reason": "EPOCH_TOO_OLD"}]
    finally:
        mesh.policy("south", maxTrustAgeSeconds=3600)
        mesh.kill("south", "access")
        mesh.configure("south", "access", lambda config: config.pop("trustPullSeconds"))
        mesh.start("south", "access")
    until("south judges again", lambda: _reason(mesh, jws) == "", 10)
    ended = mesh.ended(submit(mesh, trainer.plan(mesh, both), jws))
    assert sorted(ended["rounds"][0]["contributors"]) == ["north", "south"]


def _reason(mesh: Mesh, jws: str) -> str:
    stub = access_pb2_grpc.AccessServiceStub(mesh.front_door("south"))
    bearer = mesh.bearer("holder-south")
    try:
        call(stub.VerifyPermit, access_pb2.VerifyPermitRequest(jws=jws), metadata=bearer)
    except Exception as error:
        return str(getattr(error, "reason", error))
    return ""
