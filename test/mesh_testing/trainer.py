# SPDX-License-Identifier: Apache-2.0
"""A trainer that a test can predict, and plans for it."""

from __future__ import annotations

import hashlib
import json
import struct
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mesh_testing.mesh import Mesh

NAME = "counting"

# Its model is what it is told: (cases, value of the hyperparameter, round).
PROGRAM = """
import json, os, struct, time
task = json.load(open(os.environ["ONCOMESH_TASK"]))
told = task["hyperparameters"]
time.sleep(told.get("seconds", 0))
values = [float(len(task["cases"])), float(told.get("value", 0)), float(task["round"])]
header = json.dumps({"w": {"dtype": "F64", "shape": [3], "data_offsets": [0, 24]}}).encode()
header += b" " * (-len(header) % 8)
if "update" in task["paths"] and task["kind"] != "evaluate":
    with open(task["paths"]["update"], "wb") as out:
        out.write(struct.pack("<Q", len(header)) + header + struct.pack("<3d", *values))
with open(task["paths"]["metrics"], "w") as out:
    json.dump({"examples": 10 * len(task["cases"]), "metrics": {"loss": 0.5}}, out)
"""


def digest_of(folder: Path) -> str:
    """The digest of a trainer's folder, doc/formats/trainer.md."""
    lines = [
        f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.relative_to(folder)}\n"
        for path in sorted(folder.rglob("*"), key=lambda p: str(p.relative_to(folder)).encode())
        if path.is_file()
    ]
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def install(mesh: Mesh) -> str:
    """Puts the trainer on the shelf of every node; its digest."""
    digest = ""
    for node in mesh.nodes:
        folder = mesh.folder / node / "trainers" / NAME
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "trainer.json").write_text(
            json.dumps({"name": NAME, "command": ["python3", "train.py"]})
        )
        (folder / "train.py").write_text(PROGRAM)
        digest = digest_of(folder)
    return digest


def plan(mesh: Mesh, datasets: list[str], **changes: Any) -> dict[str, Any]:
    """A plan for the trainer."""
    folder = mesh.folder / mesh.nodes[0] / "trainers" / NAME
    made: dict[str, Any] = {
        "name": "Counting",
        "strategy": "STRATEGY_FEDAVG",
        "rounds": 1,
        "datasets": datasets,
        "minContributors": 1,
        "roundDeadline": "30s",
        "trainer": {"name": NAME, "digest": digest_of(folder)},
        "caseInputs": {"modalities": ["CT"], "roi": "GTV_Mass", "spacing": [16, 16, 16]},
        "model": {"tensors": {"w": {"shape": [3]}}},
        "metrics": ["loss"],
    }
    made.update(changes)
    return made


def tensor_file(
    values: list[float],
    *,
    name: str = "w",
    dtype: str = "F64",
    shape: list[int] | None = None,
    metadata: dict[str, str] | None = None,
) -> bytes:
    """A safetensors file of one tensor."""
    letter = {"F64": "d", "F32": "f"}[dtype]
    data = struct.pack(f"<{len(values)}{letter}", *values)
    entry: dict[str, Any] = {
        name: {"dtype": dtype, "shape": shape or [len(values)], "data_offsets": [0, len(data)]}
    }
    if metadata:
        entry["__metadata__"] = metadata
    header = json.dumps(entry).encode()
    header += b" " * (-len(header) % 8)
    return struct.pack("<Q", len(header)) + header + data


def tensor_of(content: bytes, name: str = "w") -> list[float]:
    """The F64 tensor `name` of a safetensors file."""
    (size,) = struct.unpack_from("<Q", content)
    entry = json.loads(content[8 : 8 + size])[name]
    if entry["dtype"] != "F64":
        sys.exit("only F64 is read here")
    begin, end = entry["data_offsets"]
    return list(
        struct.unpack(f"<{(end - begin) // 8}d", content[8 + size + begin : 8 + size + end])
    )
