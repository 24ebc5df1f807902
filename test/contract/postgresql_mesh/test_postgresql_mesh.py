# SPDX-License-Identifier: Apache-2.0
"""A whole mesh whose services keep their state in PostgreSQL, a schema each, over a restart.

ONCOMESH_TEST_POSTGRESQL names a server in which schemas may be made (tools/private-postgresql).
"""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import mesh_testing.mesh
from mesh_testing import trainer
from mesh_testing.mesh import BINARIES, Mesh, until

SERVER = os.environ.get("ONCOMESH_TEST_POSTGRESQL", "")
KEEPERS = {"access", "catalogue", "training", "deidentification"}
SERVICES = (*sorted(KEEPERS), "relay", "harmonisation")

# Stands where `oncomesh up` looks for a service: names the database in the configuration that `up`
# has written, then runs the service, which ends with it.
WRAPPER = """#!/usr/bin/python3
import ctypes, json, signal, subprocess, sys
service, keeper, server, real = {service!r}, {keeper!r}, {server!r}, {real!r}
path = sys.argv[2].removeprefix("--config=")
if keeper:
    config = json.load(open(path))
    schema = "{prefix}_" + config["service"]["site"] + "_" + service
    made = subprocess.run(["psql", "-q", server, "-c", "CREATE SCHEMA IF NOT EXISTS " + schema],
                          capture_output=True, text=True)
    if made.returncode != 0: sys.exit(made.stderr)
    config["service"]["database"] = server + ("&" if "?" in server else "?") + (
        "options=-csearch_path%3D" + schema)
    json.dump(config, open(path, "w"))
child = subprocess.Popen([real, *sys.argv[1:]],
                         preexec_fn=lambda: ctypes.CDLL(None).prctl(1, signal.SIGKILL))
for number in (signal.SIGTERM, signal.SIGINT):
    signal.signal(number, lambda number, frame: child.send_signal(number))
sys.exit(child.wait())
"""


def query(sql: str) -> list[str]:
    """The first column of what the server answers."""
    done = subprocess.run(
        ["psql", "-qAt", SERVER, "-c", sql], capture_output=True, text=True, check=True
    )
    return done.stdout.split()


@pytest.fixture
def mesh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Mesh]:
    if not SERVER or shutil.which("psql") is None:
        pytest.skip("ONCOMESH_TEST_POSTGRESQL is not set: nothing was tested on PostgreSQL")
    prefix = f"t{time.time_ns():x}"
    programs = tmp_path / "bin"
    programs.mkdir()
    shutil.copy2(BINARIES / "oncomesh", programs)
    for service in SERVICES:
        wrapper = programs / f"oncomesh-{service}"
        wrapper.write_text(
            WRAPPER.format(
                service=service,
                keeper=service in KEEPERS,
                server=SERVER,
                real=str(BINARIES / f"oncomesh-{service}"),
                prefix=prefix,
            )
        )
        wrapper.chmod(wrapper.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setattr(mesh_testing.mesh, "PROGRAM", programs / "oncomesh")
    made = Mesh(tmp_path / "mesh", ("north", "south"))
    made.prefix = prefix  # type: ignore[attr-defined]
    yield made
    made.down()
    for schema in query(f"SELECT nspname FROM pg_namespace WHERE nspname LIKE '{prefix}%'"):
        query(f"DROP SCHEMA {schema} CASCADE")


def seen(mesh: Mesh, permit: str, run: str) -> dict[str, object]:
    """What people see of the mesh's state."""
    shown = mesh.run_of(run)
    return {
        "run": (shown["state"], shown["modelSha256"]),
        "permit": mesh.ask("researcher", "permit", "show", permit)["state"],
        "datasets": mesh.ask("researcher", "datasets", "list"),
        "count": mesh.ask("researcher", "count", 'modality = "CT"', allow=(0, 3)),
    }


def test_a_mesh_on_postgresql_goes_the_whole_way_and_survives_a_restart(
    mesh: Mesh, studies: Path, tmp_path: Path
) -> None:
    mesh.up()
    digest = trainer.install(mesh)
    datasets = []
    for node in mesh.nodes:
        mesh.ask(f"holder-{node}", "ingest", str(studies / node), allow=(0, 3))
        datasets.append(mesh.freeze(node))
        mesh.policy(node, trainerDigests=[digest], minCell=2, rounding=1)
    permit = mesh.permit(datasets)
    run = mesh.submit(trainer.plan(mesh, datasets), permit).document["name"]
    assert mesh.ended(run)["state"] == "SUCCEEDED"
    before = seen(mesh, permit, run)
    for site in ("hub", *mesh.nodes):
        mesh.run("auditor", "audit", "verify", "--site", site)

    # Nothing stayed in files, and every service that keeps something keeps it in its schema.
    assert not list(mesh.folder.rglob("*.db"))
    prefix = mesh.prefix  # type: ignore[attr-defined]
    filled = query(
        "SELECT DISTINCT table_schema FROM information_schema.tables"
        f" WHERE table_schema LIKE '{prefix}%'"
    )
    expected = {"hub_access", "hub_catalogue", "hub_training"} | {
        f"{node}_{service}" for node in mesh.nodes for service in ("catalogue", "deidentification")
    }
    assert {schema.removeprefix(prefix + "_") for schema in filled} >= expected

    mesh.run(None, "down", "--dir", str(mesh.folder))
    assert not any(mesh.is_running(site, service) for site, service in mesh.services())
    mesh.up()
    until("both nodes are connected", lambda: seen(mesh, permit, run) == before, 60, 1)
    # And it goes on: another run with the same permit, a revocation.
    again = mesh.submit(trainer.plan(mesh, datasets), permit).document["name"]
    assert mesh.ended(again)["state"] == "SUCCEEDED"
    mesh.ask("committee", "permit", "revoke", permit, "--reason", "the story is over")
    assert mesh.ask("researcher", "permit", "show", permit)["state"] == "REVOKED"
