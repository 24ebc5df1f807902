# SPDX-License-Identifier: Apache-2.0
"""The demo's trainer as nodes run it: a process per round and node, the hub in numpy."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import write_case

from oncomesh.trainer import read_tensors, write_tensors

ROOT = Path(os.environ.get("ONCOMESH_ROOT", Path(__file__).resolve().parents[3]))
TRAINER = ROOT / "trainers" / "tumour-voxels"
POOLED = ROOT / "tools" / "pooled_reference" / "pooled.py"
METRICS = ("loss", "auc", "dice")
L2 = 1e-4
SIZE = 19


class Node:
    """One hospital's cases and trainer."""

    def __init__(self, folder: Path, seed: int, cases: int = 3) -> None:
        self.folder = folder
        self.codes = [f"case{n}" for n in range(cases)]
        for number, code in enumerate(self.codes):
            write_case(folder / "cases" / code, seed * 100 + number, patient=f"S{seed}P{number}")
        for name in ("cache", "model"):
            (folder / name).mkdir()

    def start(
        self, kind: str, script: Path = TRAINER / "trainer.py", **changes: Any
    ) -> subprocess.CompletedProcess[str]:
        out = self.folder / "out"
        out.mkdir(exist_ok=True)
        for stale in out.iterdir():
            stale.unlink()
        paths = {
            "data": str(self.folder / "cases"),
            "cache": str(self.folder / "cache"),
            "update": str(out / "update.safetensors"),
            "metrics": str(out / "metrics.json"),
        }
        for name in ("model", "statistics"):
            if (self.folder / "model" / name).exists():
                paths[name] = str(self.folder / "model" / name)
        task = {
            "version": 1,
            "kind": kind,
            "strategy": "NEWTON",
            "run": "run-test",
            "round": 1,
            "cases": self.codes,
            "modalities": ["CT", "PT"],
            "metrics": list(METRICS),
            "paths": paths,
            "hyperparameters": {},
            **changes,
        }
        (self.folder / "task.json").write_text(json.dumps(task))
        return subprocess.run(
            [sys.executable, script.name],
            cwd=script.parent,
            env={
                **{k: v for k, v in os.environ.items() if k in ("PATH", "PYTHONPATH")},
                "ONCOMESH_TASK": str(self.folder / "task.json"),
                "PYTHONDONTWRITEBYTECODE": "1",
            },
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    def run(self, kind: str, **changes: Any) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        done = self.start(kind, **changes)
        assert done.returncode == 0, done.stderr
        update = self.folder / "out" / "update.safetensors"
        metrics = json.loads((self.folder / "out" / "metrics.json").read_text())
        return (read_tensors(update) if update.exists() else {}), metrics

    def give(self, name: str, tensors: dict[str, np.ndarray]) -> None:
        write_tensors(self.folder / "model" / name, tensors)


@pytest.fixture
def nodes(tmp_path: Path) -> list[Node]:
    return [Node(tmp_path / name, seed) for seed, name in enumerate(("north", "south", "west"))]


def statistics(nodes: list[Node]) -> dict[str, np.ndarray]:
    sums = [node.run("statistics", strategy="NEWTON")[0] for node in nodes]
    total = {name: np.sum([s[name] for s in sums], axis=0) for name in sums[0]}
    for node in nodes:
        node.give("statistics", total)
    return total


def newton(nodes: list[Node], model: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """One round as the coordinator takes it; the Hessian's rows are the tensors by name."""
    for node in nodes:
        node.give("model", model)
    results = [node.run("train") for node in nodes]
    count = sum(metrics["examples"] for _, metrics in results)
    total = {n: np.sum([u[n] for u, _ in results], axis=0) / count for n in results[0][0]}
    vector = np.concatenate([model["intercept"], model["weights"]])
    penalty = np.array([0.0] + [L2] * SIZE)
    gradient = np.concatenate([total["intercept"], total["weights"]]) + penalty * vector
    vector = vector - np.linalg.solve(total["hessian"] + np.diag(penalty), gradient)
    return {"intercept": vector[:1], "weights": vector[1:]}


def test_the_federated_model_is_the_pooled_one(nodes: list[Node], tmp_path: Path) -> None:
    total = statistics(nodes)
    assert total["count"][0] > 0
    assert set(total) == {"count", "sum", "sum_of_squares"}
    assert total["sum"].shape == (SIZE,)
    model = {"intercept": np.zeros(1), "weights": np.zeros(SIZE)}
    started = time.monotonic()
    for _ in range(7):
        model = newton(nodes, model)
    print(f"{(time.monotonic() - started) / 7:.2f} s for a round of three processes")
    write_tensors(tmp_path / "federated.safetensors", model)
    plan = {
        "strategy": "STRATEGY_NEWTON",
        "rounds": 7,
        "caseInputs": {"modalities": ["CT", "PT"], "roi": "GTV"},
        "step": {"l2": L2, "unregularised": ["intercept"]},
        "hyperparameters": {"threshold": 0.4},
    }
    (tmp_path / "plan.json").write_text(json.dumps(plan))
    pooled = subprocess.run(
        [sys.executable, str(POOLED), "-o", "json", "--plan", str(tmp_path / "plan.json")]
        + ["--trainer", str(TRAINER), "--federated", str(tmp_path / "federated.safetensors")]
        + [f"--node={node.folder.name}={node.folder / 'cases'}" for node in nodes],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert pooled.returncode == 0, pooled.stderr
    report = json.loads(pooled.stdout)
    assert report["federatedFromPooled"] < 1e-6
    rows = {(row["model"], row["node"]): row for row in report["quality"]}
    assert rows["federated", "south"] == {**rows["pooled", "south"], "model": "federated"}
    assert rows["pooled", "west"]["auc"] > 0.99
    assert rows["pooled", "west"]["dice"] > 0.8

    # The trainer's own evaluation of the same model says the same.
    for node in nodes:
        node.give("model", model)
        tensors, metrics = node.run("evaluate", hyperparameters={"threshold": 0.4})
        assert not tensors
        row = rows["federated", node.folder.name]
        assert metrics["metrics"]["dice"] == pytest.approx(row["dice"], abs=1e-9)
        assert metrics["metrics"]["auc"] == pytest.approx(row["auc"], abs=1e-9)


def test_a_repeated_round_gives_the_same_bytes(nodes: list[Node]) -> None:
    node = nodes[0]
    statistics([node])
    node.give("model", {"intercept": np.full(1, 0.1), "weights": np.full(SIZE, 0.05)})
    node.run("train")
    first = (node.folder / "out" / "update.safetensors").read_bytes()
    node.run("train")  # from the cache
    assert (node.folder / "out" / "update.safetensors").read_bytes() == first
    for path in (node.folder / "cache").iterdir():
        path.unlink()
    node.run("train")  # computed again
    assert (node.folder / "out" / "update.safetensors").read_bytes() == first


def test_other_strategies(nodes: list[Node]) -> None:
    node = nodes[1]
    statistics([node])
    zero = {"intercept": np.zeros(1), "weights": np.zeros(SIZE)}
    node.give("model", zero)
    gradient, metrics = node.run("train", strategy="GRADIENT")
    assert set(gradient) == {"intercept", "weights"}
    assert metrics["metrics"]["loss"] == pytest.approx(np.log(2))
    local, _ = node.run("train", strategy="FEDAVG", hyperparameters={"local_steps": 4.0, "l2": L2})
    node.give("model", local)
    assert node.run("train", strategy="FEDAVG")[1]["metrics"]["loss"] < 0.3


def test_only_the_plans_metrics_leave(nodes: list[Node]) -> None:
    node = nodes[2]
    statistics([node])
    node.give("model", {"intercept": np.zeros(1), "weights": np.zeros(SIZE)})
    _, metrics = node.run("evaluate", metrics=["dice"])
    assert set(metrics["metrics"]) == {"dice"}


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"version": 2}, "TASK_INVALID"),
        ({"kind": "sabotage"}, "TASK_INVALID"),
        ({"cases": []}, "NO_CASES"),
        ({"cases": ["../../etc"]}, "TASK_INVALID"),
        ({"modalities": ["CT", "MR"]}, "MODALITY_MISSING"),
        ({"hyperparameters": {"threshold": 7}, "kind": "evaluate"}, "HYPERPARAMETER_INVALID"),
    ],
)
def test_what_cannot_be_done_is_told_by_a_reason(
    nodes: list[Node], changes: dict[str, Any], reason: str
) -> None:
    node = nodes[0]
    if changes.get("kind") == "evaluate":
        statistics([node])
        node.give("model", {"intercept": np.zeros(1), "weights": np.zeros(SIZE)})
    done = node.start(changes.pop("kind", "statistics"), **changes)
    assert done.returncode == 1
    assert done.stderr.strip().splitlines()[-1].startswith(f"error: {reason}: ")
    assert not list((node.folder / "out").glob("*"))


def test_a_model_of_another_shape_is_refused(nodes: list[Node]) -> None:
    statistics(nodes[:1])
    nodes[0].give("model", {"intercept": np.zeros(1), "weights": np.zeros(SIZE + 1)})
    assert "error: MODEL_SHAPE: " in nodes[0].start("train").stderr


def test_a_foreign_exception_leaves_no_value(tmp_path: Path) -> None:
    script = tmp_path / "trainer.py"
    script.write_text(
        "from oncomesh.trainer import LogisticTrainer, run\n"
        "def samples(case, modalities):\n"
        "    raise ValueError('canary 0815')\n"
        "run(LogisticTrainer(samples))\n"
    )
    node = Node(tmp_path / "n", 5, cases=1)
    done = node.start("statistics", script)
    assert done.returncode == 1
    assert done.stderr.strip() == "error: TRAINER_FAILED: ValueError in samples:3"
