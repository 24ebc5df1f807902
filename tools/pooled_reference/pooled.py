#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The training of a federated run repeated on all cases in one place, to judge the run by.

    pooled.py --plan PLAN.json --trainer trainers/tumour-voxels
              --node north=DIR --node south=DIR … [--federated MODEL.safetensors] [-o json]

DIR holds a node's prepared cases (DIR/<case>/CT.nii.gz, …). Only who owns all the data can do this;
for the demo's data we do. It trains

  * each hospital alone, on its own training cases;
  * all hospitals pooled: the Newton iteration of the plan, written here once more in plain numpy on
    one matrix, without the trainer kit's sums; and checked against scikit-learn's own solver;

and tells AUC and Dice of every model, the federated one included, on the held-out patients of each
hospital, and how far the federated weights are from the pooled ones.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from oncomesh.trainer import Case, Model, Samples, Standardisation, read_tensors, write_tensors
from oncomesh.trainer.logistic_trainer import evaluation
from oncomesh.trainer.split import held_out
from threadpoolctl import threadpool_limits

Matrix = NDArray[np.float64]


@dataclass(frozen=True)
class Plan:
    """What of a run's plan matters here."""

    modalities: Sequence[str]
    rounds: int
    learning_rate: float
    l2: float
    share: float
    salt: str
    threshold: float

    @classmethod
    def read(cls, path: Path) -> Plan:
        """From the plan's JSON, which the hub checks; here a missing part is its default."""
        plan: dict[str, Any] = json.loads(path.read_text())
        strategy = str(plan.get("strategy", "")).removeprefix("STRATEGY_")
        if strategy != "NEWTON":
            sys.exit(
                f"error: PLAN_INVALID: the strategy is {strategy}; only NEWTON is repeated here"
            )
        step, evaluate = plan.get("step", {}), plan.get("evaluate", {})
        return cls(
            modalities=tuple(plan["caseInputs"]["modalities"]),
            rounds=int(plan["rounds"]),
            learning_rate=float(step.get("learningRate") or 1.0),
            l2=float(step.get("l2", 0.0)),
            share=float(evaluate.get("heldOut", 0.0)),
            salt=str(evaluate.get("salt", "")),
            threshold=float(plan.get("hyperparameters", {}).get("threshold", 0.5)),
        )


@dataclass(frozen=True)
class Node:
    """The examples of one hospital."""

    name: str
    training: list[Samples]
    held_out: list[Samples]


@dataclass(frozen=True)
class Fit:
    """A model with the standardisation it was trained with."""

    standardisation: Standardisation
    model: Model

    def evaluate(self, cases: list[Samples], threshold: float) -> dict[str, float]:
        """Mean AUC and Dice over cases."""
        metrics = evaluation(iter(cases), self.standardisation, self.model, threshold).metrics
        return {name: metrics[name] for name in ("auc", "dice") if name in metrics}


def fit(cases: list[Samples], plan: Plan) -> Fit:
    """Standardises and takes the plan's Newton steps from zero, on one matrix."""
    features = np.concatenate([c.features for c in cases]).astype(np.float64)
    labels = np.concatenate([c.labels for c in cases]).astype(np.float64)
    scale = features.std(axis=0)
    scale[scale == 0] = 1.0
    standardisation = Standardisation(features.mean(axis=0), scale)
    features -= standardisation.mean
    features /= standardisation.scale
    design = np.hstack([np.ones((labels.size, 1)), features])
    penalty = np.full(design.shape[1], plan.l2)
    penalty[0] = 0.0
    weights = np.zeros(design.shape[1])
    for _ in range(plan.rounds):
        chance = 0.5 * (1.0 + np.tanh(0.5 * (design @ weights)))
        gradient = design.T @ (chance - labels) / labels.size + penalty * weights
        curvature = (design.T * (chance * (1.0 - chance))) @ design / labels.size
        weights -= plan.learning_rate * np.linalg.solve(curvature + np.diag(penalty), gradient)
    return Fit(standardisation, Model.of_vector(weights))


def scikit_learn(cases: list[Samples], plan: Plan, standardisation: Standardisation) -> Matrix:
    """The optimum by scikit-learn: [intercept, weights…]."""
    from sklearn.linear_model import LogisticRegression

    features = standardisation(np.concatenate([c.features for c in cases]))
    labels = np.concatenate([c.labels for c in cases])
    # Its objective is C Σ ℓ + ‖w‖²/2, ours Σ ℓ / n + λ ‖w‖²/2.
    strength = 1.0 / (labels.size * plan.l2) if plan.l2 > 0 else np.inf
    found = LogisticRegression(C=strength, solver="newton-cholesky", tol=1e-10, max_iter=100)
    found.fit(features, labels)
    return np.concatenate([found.intercept_, found.coef_[0]])


def load_samples(trainer: Path) -> Callable[[Case, Sequence[str]], Samples]:
    """The function `samples` of a trainer's file."""
    spec = importlib.util.spec_from_file_location("trainer", trainer / "trainer.py")
    if spec is None or spec.loader is None:
        sys.exit(f"error: TRAINER_NOT_FOUND: there is no trainer.py in {trainer}")
    sys.dont_write_bytecode = True  # a further file would change the trainer's digest
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    samples: Callable[[Case, Sequence[str]], Samples] = module.samples
    return samples


def load_node(
    name: str, folder: Path, plan: Plan, samples: Callable[[Case, Sequence[str]], Samples]
) -> Node:
    """Every case of a node, in the order of the codes, split as the node splits them."""
    cases = [Case(path.parent) for path in sorted(folder.glob("*/case.json"))]
    if not cases:
        sys.exit(f"error: NO_CASES: no prepared case of node {name} in {folder}")
    kept = held_out((case.patient for case in cases), plan.share, plan.salt)
    examples = [(case.patient in kept, samples(case, plan.modalities)) for case in cases]
    training = [s for out, s in examples if not out]
    return Node(name, training, [s for out, s in examples if out] or training)


def read_federated(path: Path, standardisation: Standardisation) -> Fit:
    """The model of the run; it uses the statistics of the run, which the pooled ones must equal."""
    tensors = read_tensors(path)
    return Fit(standardisation, Model(tensors["intercept"], tensors["weights"]))


def report(arguments: argparse.Namespace) -> dict[str, Any]:
    """Trains and compares."""
    plan = Plan.read(arguments.plan)
    samples = load_samples(arguments.trainer)
    nodes = []
    for text in arguments.node:
        name, _, folder = text.partition("=")
        nodes.append(load_node(name, Path(folder), plan, samples))
    everyone = [case for node in nodes for case in node.training]
    pooled = fit(everyone, plan)
    models = {f"{node.name} alone": fit(node.training, plan) for node in nodes}
    out: dict[str, Any] = {
        "examples": sum(case.labels.size for case in everyone),
        "weights": pooled.model.vector().tolist(),
    }
    if arguments.federated:
        federated = read_federated(arguments.federated, pooled.standardisation)
        models["federated"] = federated
        out["federatedFromPooled"] = largest(federated.model.vector() - pooled.model.vector())
    models["pooled"] = pooled
    if arguments.oracle:
        oracle = scikit_learn(everyone, plan, pooled.standardisation)
        out["scikitLearnFromPooled"] = largest(oracle - pooled.model.vector())
    out["quality"] = [
        {
            "model": name,
            "node": node.name,
            "cases": len(node.held_out),
            **model.evaluate(node.held_out, plan.threshold),
        }
        for name, model in models.items()
        for node in nodes
    ]
    if arguments.save:
        write_tensors(
            arguments.save,
            {"intercept": pooled.model.intercept, "weights": pooled.model.weights},
        )
    return out


def largest(difference: Matrix) -> float:
    """The largest magnitude."""
    return float(np.abs(difference).max())


def table(out: dict[str, Any]) -> str:
    """For people: a row per model, a column per hospital."""
    nodes = list(dict.fromkeys(row["node"] for row in out["quality"]))
    cells = {(row["model"], row["node"]): row for row in out["quality"]}
    models = list(dict.fromkeys(row["model"] for row in out["quality"]))
    width = max(len(m) for m in [*models, "trained on"])
    lines = ["trained on".ljust(width) + "".join(f"  {'on ' + n:>20}" for n in nodes)]
    for model in models:
        text = model.ljust(width)
        for node in nodes:
            row = cells[model, node]
            area = f"{row['auc']:.3f}" if "auc" in row else "–"
            text += f"  AUC {area:>5} Dice {row['dice']:.2f}"
        lines.append(text)
    if "federatedFromPooled" in out:
        lines.append(f"federated and pooled weights differ by {out['federatedFromPooled']:.1e}")
    if "scikitLearnFromPooled" in out:
        lines.append(f"scikit-learn's differ by {out['scikitLearnFromPooled']:.1e}")
    return "\n".join(lines)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description="Repeats a federated run on pooled cases.")
    parser.add_argument("--plan", type=Path, required=True, help="the run's plan")
    parser.add_argument("--trainer", type=Path, required=True, help="folder of the trainer")
    parser.add_argument("--node", action="append", required=True, metavar="NAME=DIR")
    parser.add_argument("--federated", type=Path, help="the model of the run (safetensors)")
    parser.add_argument("--save", type=Path, help="write the pooled model here (safetensors)")
    parser.add_argument("--no-oracle", dest="oracle", action="store_false", help="no scikit-learn")
    parser.add_argument("-o", dest="output", choices=("text", "json"), default="text")
    arguments = parser.parse_args()
    with threadpool_limits(1):  # as the trainers: many threads only wait for each other here
        out = report(arguments)
    print(json.dumps(out, indent=2) if arguments.output == "json" else table(out))


if __name__ == "__main__":
    main()
