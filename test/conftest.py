# SPDX-License-Identifier: Apache-2.0
"""A mesh for the stories: one that several share, or one for a story that harms it."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from mesh_testing.mesh import PROGRAM, Mesh, until
from mesh_testing.trainer import install

NODES = ("north", "south")


@pytest.fixture(scope="session")
def studies(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Phantom studies, a folder per node. Nobody in them exists."""
    folder = tmp_path_factory.mktemp("phantoms") / "studies"
    subprocess.run(
        [
            PROGRAM,
            "--quiet",
            "synth",
            "--out",
            folder,
            "--sites",
            ",".join(NODES),
            "--patients",
            "3",
            "--seed",
            "7",
            "--modality",
            "CT",
        ],
        check=True,
        stdout=subprocess.DEVNULL,
        timeout=60,
    )
    return folder


@pytest.fixture(scope="session")
def make_mesh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Mesh]]:
    """Makes a mesh in a folder of its own and starts it; all are torn down at the end."""
    made: list[Mesh] = []

    def make() -> Mesh:
        mesh = Mesh(tmp_path_factory.mktemp("site") / "mesh", NODES)
        made.append(mesh)
        mesh.up()
        return mesh

    yield make
    for mesh in made:
        mesh.down()


def fill(mesh: Mesh, studies: Path) -> dict[str, str]:
    """Every node takes its studies in, publishes a dataset and allows the small trainer.

    Names of the datasets by node.
    """
    digest = install(mesh)
    datasets = {}
    for node in mesh.nodes:
        mesh.ask(f"holder-{node}", "ingest", str(studies / node), allow=(0, 3))
        datasets[node] = mesh.freeze(node)
        mesh.policy(node, trainerDigests=[digest], minCell=2, rounding=1)

    def counts_by_it() -> bool:
        counted = mesh.ask("researcher", "count", "all", allow=(0, 3))
        return all(entry["minCell"] == 2 for entry in counted["nodes"])

    # A node's services follow a new policy within a quarter of a second.
    until("every node counts by its policy", counts_by_it)
    return datasets


@pytest.fixture(scope="session")
def mesh(make_mesh: Callable[..., Mesh]) -> Mesh:
    """The mesh that stories share. Whoever changes it puts it back."""
    return make_mesh()


@pytest.fixture(scope="session")
def datasets(mesh: Mesh, studies: Path) -> dict[str, str]:
    """The published dataset of each node of `mesh`."""
    return fill(mesh, studies)
