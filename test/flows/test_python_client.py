# SPDX-License-Identifier: Apache-2.0
"""A researcher's work with the Python package: from what there is to a model."""

from __future__ import annotations

import datetime
import json
from collections.abc import Iterator
from pathlib import Path

import oncomesh
import pytest

from mesh_testing import trainer
from mesh_testing.mesh import Mesh


@pytest.fixture
def client(mesh: Mesh, monkeypatch: pytest.MonkeyPatch) -> Iterator[oncomesh.Mesh]:
    """The client with the context that `oncomesh up` wrote, as it stands."""
    monkeypatch.setenv("ONCOMESH_CONTEXT", str(mesh.context("researcher")))
    with oncomesh.connect() as found:
        yield found


def test_the_hub_knows_who_calls_and_says_what_there_is(
    client: oncomesh.Mesh, mesh: Mesh, datasets: dict[str, str]
) -> None:
    assert client.whoami() == ("researcher", ("researcher",))
    assert {"modality", "sex", "age"} <= {v.name for v in client.variables()}
    found = {d.name: d for d in client.datasets()}
    assert set(datasets.values()) <= set(found)
    for node, name in datasets.items():
        assert found[name].node == node
        assert client.dataset(name).digest == found[name].digest
        assert name in [d.name for d in client.datasets(nodes=[node])]
    # Anybody's front door is not anybody's: a holder's context leads to the node, which has no hub.
    with oncomesh.connect(mesh.context("holder-north")) as north:
        assert north.whoami()[1] == ("holder",)
        with pytest.raises(oncomesh.MeshError, match="METHOD_UNKNOWN"):
            north.datasets()


def test_a_listing_is_read_to_its_end(
    client: oncomesh.Mesh, monkeypatch: pytest.MonkeyPatch, datasets: dict[str, str]
) -> None:
    whole = [d.name for d in client.datasets()]
    assert len(whole) >= len(datasets) > 1
    monkeypatch.setattr("oncomesh.mesh._PAGE", 1)
    assert [d.name for d in client.datasets()] == whole


def test_a_count_and_its_refusals(client: oncomesh.Mesh, datasets: dict[str, str]) -> None:
    count = client.count('modality = "CT"')
    assert {n.node: (n.state, n.value) for n in count.nodes} == dict.fromkeys(
        datasets, ("ANSWERED", 3)
    )
    assert int(count) == 3 * len(datasets)
    only = client.count('modality = "CT"', nodes=["north"])
    assert [n.node for n in only.nodes] == ["north"]
    for expression, reason in (
        ('no_such_variable = "1"', "VARIABLE_UNKNOWN"),
        ("age >=", "EXPRESSION_INVALID"),
    ):
        with pytest.raises(oncomesh.InvalidArgumentError) as caught:
            client.count(expression)
        assert caught.value.reason == reason
    with pytest.raises(oncomesh.NotFoundError, match="RUN_NOT_FOUND"):
        client.run("run-00000000")
    with pytest.raises(oncomesh.NotFoundError, match="PERMIT_NOT_FOUND"):
        client.permit("permit-none")


def test_from_the_wish_to_the_model(
    client: oncomesh.Mesh,
    mesh: Mesh,
    datasets: dict[str, str],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    names = list(datasets.values())
    request = client.request_access(
        names,
        purpose="DUO:0000006",
        title="From Python",
        until=datetime.datetime.now(datetime.timezone.utc).date() + datetime.timedelta(days=30),
        answers={"funding": "öffentlich"},
    )
    assert (request.state, request.datasets) == ("SUBMITTED", tuple(names))
    assert request.id in [r.id for r in client.access_requests()]
    mesh.approve(request.id, datasets)
    granted = client.access_request(request.id)
    assert (granted.state, granted.decided) == ("APPROVED", True)
    permit = client.permit(granted.permit)
    assert (permit.state, set(permit.datasets)) == ("ACTIVE", set(names))
    assert permit.id in [p.id for p in client.permits()]
    assert int(client.count('modality = "CT"', permit=permit)) == 3 * len(datasets)

    plan = trainer.plan(mesh, names, rounds=2, hyperparameters={"value": 4})
    (tmp_path / "plan.json").write_text(json.dumps(plan))
    run = client.submit(tmp_path / "plan.json", permit)
    assert run.permit == permit.id
    with pytest.raises(oncomesh.FailedPreconditionError, match="MODEL_NOT_READY"):
        run.model(round=2)
    assert run.watch() is run
    assert run.name in capsys.readouterr().err
    assert (run.state, run.ended) == ("SUCCEEDED", True)
    assert [(r.number, r.state, sorted(r.contributors)) for r in run.rounds] == [
        (number, "CLOSED", sorted(datasets)) for number in (1, 2)
    ]
    assert run.metrics == {"loss": 0.5}
    # Cases of a node, the hyperparameter, the round: the mean of what both nodes' trainers wrote.
    assert run.model()["w"].tolist() == [3.0, 4.0, 2.0]
    assert run.model(round=1)["w"].tolist() == [3.0, 4.0, 1.0]
    path = run.save_model(tmp_path / "model.safetensors")
    assert trainer.tensor_of(path.read_bytes()) == [3.0, 4.0, 2.0]
    assert run.manifest(2).count(".") == 2

    assert run.name in [r.name for r in client.runs()]
    assert client.run(run.name).rounds[-1].model_sha256 == run.rounds[-1].model_sha256
    (final,) = client.models(run.name)
    assert (final.round, final.final, final.permit) == (2, True, permit.id)
    assert (set(final.contributors), set(final.datasets)) == (set(datasets), set(names))
    assert client.model(final)["w"].tolist() == [3.0, 4.0, 2.0]
    assert [m.round for m in client.models(run.name, final_only=False)] == [2, 1]

    # A permit that has ended ends what it was for.
    mesh.ask("committee", "permit", "revoke", permit.id, "--reason", "the story is over")
    assert client.permit(permit.id).state == "REVOKED"
    with pytest.raises(oncomesh.PermissionDeniedError, match="PERMIT_REVOKED"):
        client.submit(plan, permit)
