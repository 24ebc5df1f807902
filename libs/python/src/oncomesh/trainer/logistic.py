# SPDX-License-Identifier: Apache-2.0
"""Logistic regression as sums over examples, so that it can be trained where the examples are.

The objective is the mean log-loss (1/n) Σ log(1 + exp(z)) − y·z with z = b + wᵀ(x − mean)/scale,
plus λ/2 ‖w‖² that the coordinator adds. Every quantity is a float64 sum over the examples in a
fixed order: the same examples give the same bytes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from oncomesh.trainer.errors import TrainerError

Vector = NDArray[np.float64]

# Rows that are widened to float64 at a time: 64 Ki rows of 20 features are 10 MB.
_BLOCK = 1 << 16


@dataclass(frozen=True)
class Samples:
    """The examples of one case: `features` (n, D) float32, `labels` (n,) bool.

    `missed` counts positive voxels that are not among the examples (a tumour outside the body
    mask): no prediction can find them, and Dice counts them as such.
    """

    features: NDArray[np.float32]
    labels: NDArray[np.bool_]
    missed: int = 0

    def __post_init__(self) -> None:
        if self.features.ndim != 2 or self.labels.shape != self.features.shape[:1]:
            raise TrainerError(
                "SAMPLES_INVALID",
                f"features of shape {self.features.shape} and labels of shape {self.labels.shape} "
                "do not belong together; give (n, D) and (n,)",
            )
        if not np.isfinite(self.features).all():
            raise TrainerError(
                "SAMPLES_INVALID",
                "a feature is NaN or infinite; look for a division by zero or a logarithm of zero",
            )


@dataclass(frozen=True)
class Moments:
    """What standardisation needs: how many examples, their sum and sum of squares per feature."""

    count: int
    total: Vector
    total_of_squares: Vector

    @classmethod
    def of(cls, samples: Iterable[Samples]) -> Moments:
        """Sums over all examples. Raises TrainerError NO_EXAMPLES when there are none."""
        parts = [_moments(s.features) for s in samples]
        if not any(part.count for part in parts):
            raise TrainerError("NO_EXAMPLES", "no case has any example")
        return sum(parts[1:], start=parts[0])

    def __add__(self, other: Moments) -> Moments:
        return Moments(
            self.count + other.count,
            self.total + other.total,
            self.total_of_squares + other.total_of_squares,
        )

    def standardisation(self) -> Standardisation:
        """Mean and standard deviation (divisor n); a constant feature keeps scale 1."""
        mean = self.total / self.count
        variance = np.maximum(self.total_of_squares / self.count - mean**2, 0.0)
        # Below 1e-12 of the mean square the variance is what rounding left over.
        constant = variance <= 1e-12 * (self.total_of_squares / self.count)
        return Standardisation(mean, np.where(constant, 1.0, np.sqrt(variance)))


@dataclass(frozen=True)
class Standardisation:
    """x ↦ (x − mean) / scale, per feature."""

    mean: Vector
    scale: Vector

    def __call__(self, features: NDArray[np.float32]) -> NDArray[np.float64]:
        """Standardised features as float64, (n, D)."""
        standardised: NDArray[np.float64] = (features.astype(np.float64) - self.mean) / self.scale
        return standardised


@dataclass(frozen=True)
class Model:
    """`intercept` (1,) and `weights` (D,) on standardised features."""

    intercept: Vector
    weights: Vector

    @classmethod
    def zeros(cls, features: int) -> Model:
        """The model that says 0.5 to everything."""
        return cls(np.zeros(1), np.zeros(features))

    @classmethod
    def of_vector(cls, vector: Vector) -> Model:
        """From [intercept, weights…], the order of the Hessian's rows."""
        return cls(vector[:1].copy(), vector[1:].copy())

    def vector(self) -> Vector:
        """[intercept, weights…]."""
        return np.concatenate([self.intercept, self.weights])

    def scores(self, standardised: NDArray[np.float64]) -> Vector:
        """The linear predictor z, (n,)."""
        scores: Vector = standardised @ self.weights + self.intercept[0]
        return scores


@dataclass(frozen=True)
class Derivatives:
    """Sums over examples of the log-loss and its derivatives by [intercept, weights…]."""

    count: int
    loss: float
    gradient: Vector  # (1 + D,)
    hessian: NDArray[np.float64]  # (1 + D, 1 + D)

    def __add__(self, other: Derivatives) -> Derivatives:
        return Derivatives(
            self.count + other.count,
            self.loss + other.loss,
            self.gradient + other.gradient,
            self.hessian + other.hessian,
        )


def probabilities(scores: Vector) -> Vector:
    """1 / (1 + exp(−z)) without overflow."""
    # exp(−|z|) never overflows: 1/(1+e) for z ≥ 0 and e/(1+e) below.
    small = np.exp(-np.abs(scores))
    chances: Vector = np.where(scores >= 0, 1.0, small) / (1.0 + small)
    return chances


def derivatives(
    samples: Iterable[Samples], standardisation: Standardisation, model: Model
) -> Derivatives:
    """Loss, gradient and Hessian at `model`, summed over all examples in their order."""
    size = model.weights.size + 1
    total = Derivatives(0, 0.0, np.zeros(size), np.zeros((size, size)))
    for features, labels in _blocks(samples):
        design = np.empty((labels.size, size))
        design[:, 0] = 1.0
        design[:, 1:] = standardisation(features)
        scores = model.scores(design[:, 1:])
        chance = probabilities(scores)
        weight = chance * (1.0 - chance)
        half = design * np.sqrt(weight)[:, None]  # HᵀH is symmetric to the bit
        total += Derivatives(
            labels.size,
            float((np.logaddexp(0.0, scores) - labels * scores).sum()),
            design.T @ (chance - labels),
            half.T @ half,
        )
    return total


def newton_step(at: Derivatives, model: Model, l2: float = 0.0, step: float = 1.0) -> Model:
    """One Newton step of the mean objective, as the coordinator takes it: w − η H⁻¹ g."""
    penalty = np.full(at.gradient.size, l2)
    penalty[0] = 0.0  # the intercept is free
    vector = model.vector()
    gradient = at.gradient / at.count + penalty * vector
    hessian = at.hessian / at.count + np.diag(penalty)
    return Model.of_vector(vector - step * np.linalg.solve(hessian, gradient))


def gradient_step(at: Derivatives, model: Model, l2: float = 0.0, step: float = 1.0) -> Model:
    """One step down the gradient of the mean objective."""
    penalty = np.full(at.gradient.size, l2)
    penalty[0] = 0.0
    vector = model.vector()
    return Model.of_vector(vector - step * (at.gradient / at.count + penalty * vector))


def _moments(features: NDArray[np.float32]) -> Moments:
    wide = features.astype(np.float64)
    return Moments(features.shape[0], wide.sum(axis=0), (wide * wide).sum(axis=0))


def _blocks(
    samples: Iterable[Samples],
) -> Iterator[tuple[NDArray[np.float32], NDArray[np.bool_]]]:
    for case in samples:
        for first in range(0, case.labels.size, _BLOCK):
            rows = slice(first, first + _BLOCK)
            yield case.features[rows], case.labels[rows]
