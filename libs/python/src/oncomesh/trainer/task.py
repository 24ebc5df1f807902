# SPDX-License-Identifier: Apache-2.0
"""The task a node hands to a trainer, and what the trainer hands back.

doc/formats/trainer.md is the contract. A trainer is a program that the node starts once per round,
without network, with one environment variable: ONCOMESH_TASK, the path of a JSON file.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from oncomesh.trainer.cases import Case
from oncomesh.trainer.errors import TrainerError
from oncomesh.trainer.tensors import Tensors, read_tensors, write_tensors, write_whole

_CODE = re.compile(r"[A-Za-z0-9_-]{1,64}")

KINDS = ("statistics", "train", "evaluate")
STRATEGIES = ("FEDAVG", "GRADIENT", "NEWTON")

T = TypeVar("T", int, float, str, bool)


@dataclass(frozen=True)
class Update:
    """What leaves the node after a round: sums over examples, how many examples, and metrics."""

    examples: int
    tensors: Mapping[str, NDArray[np.floating]] = field(default_factory=dict)
    metrics: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Task:
    """One round's work at one node."""

    kind: str  # one of KINDS
    strategy: str  # one of STRATEGIES
    run: str
    round: int
    cases: tuple[Case, ...]  # in the order of their codes
    modalities: tuple[str, ...]  # that every case has
    hyperparameters: Mapping[str, Any]
    metrics: tuple[str, ...]  # names that may leave the node
    model_path: Path | None
    statistics_path: Path | None
    cache: Path
    update_path: Path
    metrics_path: Path

    @classmethod
    def from_environment(cls) -> Task:
        """The task named by ONCOMESH_TASK. Raises TrainerError TASK_MISSING, TASK_INVALID."""
        path = os.environ.get("ONCOMESH_TASK", "")
        if not path:
            raise TrainerError(
                "TASK_MISSING",
                "ONCOMESH_TASK is not set; a node sets it when it starts a trainer",
            )
        return cls.read(Path(path))

    @classmethod
    def read(cls, path: Path) -> Task:
        """Parses a task file strictly where it matters. Raises TrainerError TASK_INVALID."""
        try:
            document = json.loads(path.read_bytes())
        except (OSError, ValueError) as error:
            raise _invalid("it is not readable JSON") from error
        if not isinstance(document, dict):
            raise _invalid("it is not an object")
        if document.get("version") != 1:
            raise _invalid("this kit reads version 1")
        kind = _text(document, "kind")
        strategy = _text(document, "strategy")
        if kind not in KINDS:
            raise _invalid(f"kind must be one of {', '.join(KINDS)}")
        if strategy not in STRATEGIES:
            raise _invalid(f"strategy must be one of {', '.join(STRATEGIES)}")
        paths = document.get("paths", {})
        if not isinstance(paths, dict):
            raise _invalid("paths must be an object")
        data = Path(_text(paths, "data"))
        codes = sorted(_texts(document, "cases"))
        if not all(_CODE.fullmatch(code) for code in codes):
            raise _invalid("a case's code is not one")
        if not codes:
            raise TrainerError("NO_CASES", "the node has no prepared case for this round")
        hyperparameters = document.get("hyperparameters") or {}
        if not isinstance(hyperparameters, dict):
            raise _invalid("hyperparameters must be an object")
        return cls(
            kind=kind,
            strategy=strategy,
            run=_text(document, "run"),
            round=int(document.get("round", 0)),
            cases=tuple(Case(data / code, index + 1) for index, code in enumerate(codes)),
            modalities=tuple(_texts(document, "modalities")),
            hyperparameters=hyperparameters,
            metrics=tuple(_texts(document, "metrics")),
            model_path=_path(paths, "model"),
            statistics_path=_path(paths, "statistics"),
            cache=Path(_text(paths, "cache")),
            update_path=Path(_text(paths, "update")),
            metrics_path=Path(_text(paths, "metrics")),
        )

    def hyperparameter(self, name: str, default: T, valid: Callable[[T], bool] | None = None) -> T:
        """A hyperparameter of the type of `default`. Raises TrainerError HYPERPARAMETER_INVALID."""
        value = self.hyperparameters.get(name, default)
        if isinstance(default, int) and isinstance(value, float) and value.is_integer():
            value = int(value)  # JSON numbers of a protobuf Struct are all floating point
        if isinstance(default, float) and isinstance(value, int) and not isinstance(value, bool):
            value = float(value)
        if type(value) is not type(default) or (valid is not None and not valid(value)):
            raise TrainerError(
                "HYPERPARAMETER_INVALID", f"hyperparameter '{name}' cannot be {value!r}"
            )
        return value

    def model(self) -> Tensors:
        """The global model this round starts from. Raises TrainerError MODEL_MISSING and others."""
        if self.model_path is None:
            raise TrainerError("MODEL_MISSING", "this task comes without a model")
        return read_tensors(self.model_path)

    def statistics(self) -> Tensors:
        """The sums of the statistics round over all nodes. Raises TrainerError."""
        if self.statistics_path is None:
            raise TrainerError(
                "STATISTICS_MISSING",
                "this trainer needs a statistics round; add `statistics` to the plan",
            )
        return read_tensors(self.statistics_path)

    def write(self, update: Update) -> None:
        """Writes the tensors, then the metrics that may leave; the second file completes the round.

        Raises TrainerError UPDATE_NOT_FINITE.
        """
        metrics = {k: float(v) for k, v in sorted(update.metrics.items()) if k in self.metrics}
        if not all(np.isfinite(list(metrics.values()))):
            raise TrainerError("UPDATE_NOT_FINITE", "a metric is NaN or infinite")
        if self.kind != "evaluate":
            write_tensors(self.update_path, update.tensors)
        document = {"examples": update.examples, "metrics": metrics}
        write_whole(self.metrics_path, json.dumps(document, indent=1).encode())


def _invalid(what: str) -> TrainerError:
    return TrainerError("TASK_INVALID", f"the task file does not follow the contract: {what}")


def _text(document: Mapping[str, Any], name: str) -> str:
    value = document.get(name)
    if not isinstance(value, str) or not value:
        raise _invalid(f"'{name}' must be text")
    return value


def _texts(document: Mapping[str, Any], name: str) -> list[str]:
    value = document.get(name, [])
    if not isinstance(value, list) or not all(isinstance(v, str) and v for v in value):
        raise _invalid(f"'{name}' must be a list of texts")
    return list(value)


def _path(document: Mapping[str, Any], name: str) -> Path | None:
    return Path(_text(document, name)) if name in document else None
