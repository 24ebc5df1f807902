# SPDX-License-Identifier: Apache-2.0
"""A complete trainer around one function: from a case to its examples."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file, save

from oncomesh.trainer.cases import Case
from oncomesh.trainer.errors import TrainerError
from oncomesh.trainer.logistic import (
    Derivatives,
    Model,
    Moments,
    Samples,
    Standardisation,
    derivatives,
    newton_step,
    probabilities,
)
from oncomesh.trainer.measures import auc, dice
from oncomesh.trainer.task import Task, Update
from oncomesh.trainer.tensors import Tensors, write_whole

SampleFunction = Callable[[Case, Sequence[str]], Samples]


class LogisticTrainer:
    """Logistic regression on the examples that `samples(case, modalities)` gives.

    Statistics round: tensors `count` (1), `sum` (D), `sum_of_squares` (D).
    Model: `intercept` (1), `weights` (D), on features standardised by those statistics.
    Metrics: train `loss`; evaluate `loss`, `auc` and `dice`, the last two as the mean over cases.
    Hyperparameters: `threshold` (0.5) of the probability from which a voxel counts as tumour;
    with FEDAVG `local_steps` (1), the Newton steps on a node's own examples, and `l2` (0).
    """

    def __init__(self, samples: SampleFunction) -> None:
        self._samples = samples

    def statistics(self, task: Task) -> Update:
        """What standardisation needs, summed over this node's examples."""
        moments = Moments.of(self._cached(task))
        return Update(
            moments.count,
            {
                "count": np.array([float(moments.count)]),
                "sum": moments.total,
                "sum_of_squares": moments.total_of_squares,
            },
        )

    def train(self, task: Task) -> Update:
        """The node's part of one round, by the strategy of the plan."""
        standardisation = standardisation_of(task.statistics())
        model = model_of(task.model(), standardisation)
        if task.strategy == "FEDAVG":
            return self._local_model(task, standardisation, model)
        at = derivatives(self._cached(task), standardisation, model)
        tensors = {"intercept": at.gradient[:1], "weights": at.gradient[1:]}
        if task.strategy == "NEWTON":
            tensors["hessian"] = at.hessian
        return Update(at.count, tensors, _loss(at))

    def evaluate(self, task: Task) -> Update:
        """How well the model does on each of the task's cases; only means leave."""
        standardisation = standardisation_of(task.statistics())
        model = model_of(task.model(), standardisation)
        threshold = task.hyperparameter("threshold", 0.5, lambda t: 0 < t < 1)
        return evaluation(self._cached(task), standardisation, model, threshold)

    def _local_model(self, task: Task, standardisation: Standardisation, model: Model) -> Update:
        l2 = task.hyperparameter("l2", 0.0, lambda x: x >= 0)
        samples = list(self._cached(task))
        at = derivatives(samples, standardisation, model)
        first = at
        for _ in range(task.hyperparameter("local_steps", 1, lambda n: 1 <= n <= 100)):
            model = newton_step(at, model, l2)
            at = derivatives(samples, standardisation, model)
        tensors = {"intercept": model.intercept, "weights": model.weights}
        return Update(first.count, tensors, _loss(first))

    def _cached(self, task: Task) -> Iterator[Samples]:
        """The examples of each case, computed once per run: the cache outlives a round."""
        size: int | None = None
        for number, case in enumerate(task.cases, start=1):
            path = task.cache / f"{number:06d}-{case.code}.samples"
            samples = _load(path)
            if samples is None:
                samples = self._samples(case, task.modalities)
                _save(path, samples)
            if size is not None and samples.features.shape[1] != size:
                raise TrainerError("SAMPLES_INVALID", "cases differ in the number of features")
            size = samples.features.shape[1]
            yield samples


def evaluation(
    cases: Iterator[Samples], standardisation: Standardisation, model: Model, threshold: float
) -> Update:
    """Loss per example, and AUC and Dice as the mean over the cases that have them."""
    values: dict[str, list[float]] = defaultdict(list)
    examples = 0
    for samples in cases:
        scores = model.scores(standardisation(samples.features))
        loss = np.logaddexp(0.0, scores) - samples.labels * scores
        values["loss"].append(float(loss.sum()))
        area = auc(scores, samples.labels)
        if area is not None:
            values["auc"].append(area)
        found = probabilities(scores) >= threshold
        values["dice"].append(dice(found, samples.labels, samples.missed))
        examples += samples.labels.size
    if not examples:
        raise TrainerError("NO_EXAMPLES", "no case has any example")
    means = {name: float(np.mean(v)) for name, v in values.items() if name != "loss"}
    return Update(examples, {}, {"loss": float(sum(values["loss"])) / examples, **means})


def standardisation_of(statistics: Tensors) -> Standardisation:
    """From the sums over all nodes. Raises TrainerError STATISTICS_SHAPE."""
    try:
        count, total, squares = (statistics[n] for n in ("count", "sum", "sum_of_squares"))
    except KeyError:
        raise _statistics_shape() from None
    if count.size != 1 or total.ndim != 1 or total.shape != squares.shape or count.item() < 1:
        raise _statistics_shape()
    return Moments(round(count.item()), total, squares).standardisation()


def model_of(tensors: Tensors, standardisation: Standardisation) -> Model:
    """From the tensors of the model file. Raises TrainerError MODEL_SHAPE."""
    features = standardisation.mean.size
    intercept, weights = tensors.get("intercept"), tensors.get("weights")
    if (
        set(tensors) != {"intercept", "weights"}
        or intercept is None
        or weights is None
        or intercept.shape != (1,)
        or weights.shape != (features,)
    ):
        raise TrainerError(
            "MODEL_SHAPE",
            f"the model must be the tensors intercept (1) and weights ({features}); say so in the "
            "plan",
        )
    return Model(intercept, weights)


def _loss(at: Derivatives) -> dict[str, float]:
    return {"loss": at.loss / at.count}


def _statistics_shape() -> TrainerError:
    return TrainerError(
        "STATISTICS_SHAPE",
        "the statistics must be the tensors count (1), sum (D) and sum_of_squares (D); say so in "
        "the plan",
    )


def _load(path: Path) -> Samples | None:
    if not path.is_file():
        return None
    found = load_file(path)
    return Samples(found["features"], found["labels"].astype(np.bool_), int(found["missed"][0]))


def _save(path: Path, samples: Samples) -> None:
    content: dict[str, NDArray[Any]] = {
        "features": np.ascontiguousarray(samples.features, dtype=np.float32),
        "labels": np.ascontiguousarray(samples.labels, dtype=np.uint8),
        "missed": np.array([samples.missed], dtype=np.int64),
    }
    write_whole(path, save(content))
