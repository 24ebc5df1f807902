# SPDX-License-Identifier: Apache-2.0
"""Disks that are full: what cannot be kept is refused with a reason, nothing is left in half, and
with the space everything goes on, without a restart.
"""

from __future__ import annotations

import hashlib
import sqlite3
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from oncomesh.stubs.catalogue.v1 import node_catalogue_pb2, node_catalogue_pb2_grpc

from conftest import fill
from mesh_testing import trainer
from mesh_testing.mesh import Mesh, call, until
from mesh_testing.small_disk import SmallDisk

FULL = ("DISK_FULL", "LOG_FAILED")


@contextmanager
def on_small_disk(
    mesh: Mesh, tmp: Path, site: str, services: tuple[str, ...], folders: tuple[str, ...]
) -> Iterator[SmallDisk]:
    """Runs services with folders of their site on a small disk; afterwards as before."""
    paths = [mesh.folder / site / folder for folder in folders]
    mesh.kill(site, *services)
    with SmallDisk(tmp / "disk", paths) as disk:
        mesh.start(site, *services, around=disk.around)
        try:
            yield disk
        finally:
            for service in services:
                assert mesh.is_running(site, service), mesh.log_of(site, service)[-2000:]
            mesh.kill(site, *services)
            disk.keep()
    mesh.start(site, *services)


@pytest.fixture(scope="module")
def own(make_mesh: Callable[..., Mesh], studies: Path) -> Mesh:
    mesh = make_mesh()
    fill(mesh, studies)
    return mesh


def whole(objects: Path) -> set[str]:
    """The released objects; every file is one, and is whole."""
    found = set()
    for path in objects.rglob("*"):
        if path.is_file():
            assert hashlib.sha256(path.read_bytes()).hexdigest() == path.name, path
            found.add(path.name)
    return found


def listed(database: Path, tmp: Path) -> set[str]:
    """The feed of released objects, from a copy of the database and its log."""
    copy = Path(tempfile.mkdtemp(dir=tmp)) / "copy.db"
    for ending in ("", "-wal"):
        source = Path(f"{database}{ending}")
        if source.exists():
            Path(f"{copy}{ending}").write_bytes(source.read_bytes())
    with sqlite3.connect(copy) as rows:
        return {name for (name,) in rows.execute("SELECT sha256 FROM released")}


def test_ingest(make_mesh: Callable[..., Mesh], studies: Path, tmp_path: Path) -> None:
    mesh = make_mesh()
    state = mesh.folder / "north" / "deidentification"
    objects = mesh.folder / "north" / "objects"
    services = ("deidentification", "catalogue")
    with on_small_disk(mesh, tmp_path, "north", services, ("deidentification", "objects")) as disk:
        disk.fill()
        outcome = mesh.run("holder-north", "ingest", str(studies / "north"), allow=(1, 3))
        assert "DISK_FULL" in outcome.out + outcome.err, outcome
        assert '"released": 0' in outcome.out or outcome.status == 1, outcome
        assert whole(disk.inside(objects)) == set()
        assert listed(disk.inside(state / "deidentification.db"), tmp_path) == set()

        # Full in the middle: what was released is, and nothing else is.
        disk.free()
        one = sorted((studies / "north").rglob("*.dcm"))[0]
        mesh.ask("holder-north", "ingest", str(one))
        disk.fill()
        outcome = mesh.run("holder-north", "ingest", str(studies / "north"), allow=(1, 3))
        assert "DISK_FULL" in outcome.out + outcome.err, outcome
        assert len(whole(disk.inside(objects))) == 1
        assert len(listed(disk.inside(state / "deidentification.db"), tmp_path)) == 1

        disk.free()
        done = mesh.ask("holder-north", "ingest", str(studies / "north"), allow=(0, 3))["objects"]
        assert done["failed"] == 0 and done["released"] > 80, done
        kept = whole(disk.inside(objects))
        assert kept == listed(disk.inside(state / "deidentification.db"), tmp_path)
        assert not list(disk.inside(state / "work").iterdir())
        sealed = list(disk.inside(state / "quarantine").iterdir())
        held = mesh.ask("holder-north", "quarantine", "list")["objects"]
        assert len(sealed) == len(held)
        # A count of some of the patients would be the answer for all of them, too.
        index = node_catalogue_pb2_grpc.NodeCatalogueServiceStub(mesh.front_door("north"))
        synced = node_catalogue_pb2.SyncIndexRequest()
        bearer = mesh.bearer("holder-north")
        assert call(index.SyncIndex, synced, metadata=bearer).status.studies == 3
        mesh.policy("north", minCell=2, rounding=1)

        def counted() -> bool:
            asked = ("count", 'modality = "CT"', "--nodes", "north")
            total = mesh.ask("researcher", *asked, allow=(0, 3))["total"]
            return bool(total.get("value") == 3)

        until("all patients are counted", counted)


def test_freeze(own: Mesh, tmp_path: Path) -> None:
    what = ("--title", "t", "--where", 'modality = "CT"', "--duo", "DUO:0000042")
    create = ("dataset", "create", "late", *what)
    with on_small_disk(own, tmp_path, "north", ("catalogue",), ("catalogue",)) as disk:
        disk.fill()
        assert own.refused("holder-north", *create) == "DISK_FULL"
        assert own.refused("holder-north", "dataset", "publish", "late") == "DATASET_NOT_FOUND"
        # What needs no room is answered.
        asked = ("count", 'modality = "CT"', "--nodes", "north")
        assert own.ask("researcher", *asked)["total"]["value"] == 3
        disk.free()
        assert own.ask("holder-north", *create)["name"] == "nodes/north/datasets/late/versions/1"
        own.ask("holder-north", "dataset", "publish", "late")


@pytest.mark.parametrize("site", ["hub", "north"])
def test_audit(own: Mesh, site: str, tmp_path: Path) -> None:
    """What cannot be recorded does not succeed."""
    dataset = "nodes/north/datasets/sarcoma/versions/1"

    def act() -> tuple[str, tuple[str, ...]]:
        if site == "hub":
            return "researcher", ("count", 'modality = "CT"')
        path = tmp_path / "policy.json"
        return "holder-north", ("policy", "set", str(path))

    (tmp_path / "policy.json").write_text(
        own.run("holder-north", "policy", "get").out.replace(
            '"maxRounds": 1000', '"maxRounds": 999'
        )
    )
    before = own.ask("auditor", "audit", "verify", "--site", site)["size"]
    with on_small_disk(own, tmp_path, site, ("access",), ("access",)) as disk:
        who, words = act()
        own.ask(who, *words)
        disk.fill()
        # A little fits into what the log has allocated already.
        refused = until("it is refused", lambda: own.run(who, *words, allow=(0, 1)).reason, pause=0)
        assert refused in FULL, refused
        if site == "hub":
            day = time.strftime("%Y-%m-%d", time.gmtime(time.time() + 86400))
            wish = ("--purpose", "DUO:0000006", "--title", "t", "--operations", "count")
            request = ("access", "request", "--datasets", dataset, *wish, "--until", day)
            assert own.refused("researcher", *request) in FULL
        disk.free()
        until("it is recorded again", lambda: own.run(who, *words, allow=(0, 1)).status == 0)
        if site == "hub":
            own.ask("researcher", *request)
        after = own.ask("auditor", "audit", "verify", "--site", site)["size"]
        assert after > before


def test_updates(own: Mesh, tmp_path: Path) -> None:
    """The hub has no room when the updates come; the nodes keep theirs until it has."""
    both = [f"nodes/{node}/datasets/sarcoma/versions/1" for node in own.nodes]
    permit = own.permit(both, "train")
    with on_small_disk(own, tmp_path, "hub", ("training",), ("training",)) as disk:
        told = {"seconds": 3, "value": 4}
        plan = trainer.plan(own, both, minContributors=2, hyperparameters=told)
        run = own.submit(plan, permit).document["name"]

        def at_work() -> bool:
            nodes = own.run_of(run)["rounds"][0]["nodes"]
            return {nodes[node]["state"] for node in nodes} == {"WORKING"}

        until("both nodes are at work", at_work)
        disk.fill()
        assert own.submit(plan, permit, allow=(1,)).reason == "DISK_FULL"

        def refused() -> bool:
            return all("update.not_delivered" in own.log_of(node, "training") for node in own.nodes)

        until("both updates were refused", refused)
        assert own.run_of(run)["state"] == "RUNNING"
        disk.free()
        ended = own.ended(run)
        assert ended["state"] == "SUCCEEDED"
        assert sorted(ended["rounds"][0]["contributors"]) == ["north", "south"]
        path = tmp_path / "model.safetensors"
        own.ask("researcher", "run", "model", run, "--out", str(path))
        assert trainer.tensor_of(path.read_bytes()) == [3.0, 4.0, 1.0]
