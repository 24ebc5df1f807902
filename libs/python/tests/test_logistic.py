# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import check_grad
from sklearn.linear_model import LogisticRegression

from oncomesh.trainer import Model, Moments, Samples, Standardisation, TrainerError
from oncomesh.trainer.logistic import derivatives, gradient_step, newton_step, probabilities


def samples(seed: int, n: int = 400) -> Samples:
    random = np.random.default_rng(seed)
    features = random.normal(0, 1, (n, 4)).astype(np.float32) * [1, 5, 0.2, 2] + [0, 3, 0, -1]
    chance = probabilities(features @ np.array([1.0, -0.3, 2.0, 0.2]) - 0.5)
    return Samples(features.astype(np.float32), random.random(n) < chance)


def test_moments_of_parts_are_those_of_the_whole() -> None:
    parts = [samples(1), samples(2, 70), samples(3, 1)]
    whole = np.concatenate([p.features for p in parts]).astype(np.float64)
    standardisation = Moments.of(parts).standardisation()
    np.testing.assert_allclose(standardisation.mean, whole.mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(standardisation.scale, whole.std(axis=0), rtol=1e-10)


def test_a_constant_feature_keeps_its_scale() -> None:
    features = np.full((50, 2), 0.1, dtype=np.float32)
    features[:, 1] = np.arange(50)
    scale = Moments.of([Samples(features, np.zeros(50, bool))]).standardisation().scale
    assert scale[0] == 1.0
    assert scale[1] == pytest.approx(np.arange(50).std())


def test_gradient_is_that_of_the_loss() -> None:
    data, plain = [samples(4)], Standardisation(np.zeros(4), np.ones(4))

    def loss(vector: np.ndarray) -> float:
        return derivatives(data, plain, Model.of_vector(vector)).loss

    def gradient(vector: np.ndarray) -> np.ndarray:
        return derivatives(data, plain, Model.of_vector(vector)).gradient

    at = np.array([0.3, -0.2, 0.1, 0.5, 0.0])
    assert check_grad(loss, gradient, at) < 1e-3 * np.abs(gradient(at)).max()
    hessian = derivatives(data, plain, Model.of_vector(at)).hessian
    for i in range(5):
        step = np.zeros(5)
        step[i] = 1e-5
        numeric = (gradient(at + step) - gradient(at - step)) / 2e-5
        np.testing.assert_allclose(hessian[i], numeric, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("l2", [1e-6, 1e-2])
def test_newton_steps_reach_scikit_learns_optimum(l2: float) -> None:
    nodes = [[samples(1), samples(2)], [samples(3, 50)], [samples(4, 900)]]
    everyone = [case for node in nodes for case in node]
    standardisation = Moments.of(everyone).standardisation()
    model = Model.zeros(4)
    for _ in range(12):  # each node's sums, added as the coordinator adds them
        parts = [derivatives(node, standardisation, model) for node in nodes]
        model = newton_step(parts[0] + parts[1] + parts[2], model, l2)
    features = standardisation(np.concatenate([c.features for c in everyone]))
    labels = np.concatenate([c.labels for c in everyone])
    oracle = LogisticRegression(C=1 / (labels.size * l2), tol=1e-12, solver="newton-cholesky")
    oracle.fit(features, labels)
    np.testing.assert_allclose(model.weights, oracle.coef_[0], atol=1e-9)
    np.testing.assert_allclose(model.intercept, oracle.intercept_, atol=1e-9)


def test_gradient_steps_lower_the_loss() -> None:
    data = [samples(5)]
    standardisation = Moments.of(data).standardisation()
    model, losses = Model.zeros(4), []
    for _ in range(30):
        at = derivatives(data, standardisation, model)
        losses.append(at.loss)
        model = gradient_step(at, model, step=1.0)
    assert losses == sorted(losses, reverse=True)


def test_large_scores_neither_overflow_nor_lose_the_loss() -> None:
    data = [Samples(np.array([[1e4], [-1e4]], np.float32), np.array([False, True]))]
    with np.errstate(over="raise", invalid="raise"):
        at = derivatives(
            data, Standardisation(np.zeros(1), np.ones(1)), Model.of_vector(np.ones(2))
        )
    assert at.loss == pytest.approx(2e4, rel=1e-3)


def test_the_same_examples_give_the_same_bytes() -> None:
    data = [samples(6, 200_000), samples(7, 1000)]
    standardisation = Moments.of(data).standardisation()
    model = Model.of_vector(np.array([0.1, 0.2, -0.3, 0.4, 0.5]))
    first, again = (derivatives(data, standardisation, model) for _ in range(2))
    assert first.hessian.tobytes() == again.hessian.tobytes()
    assert first.gradient.tobytes() == again.gradient.tobytes()
    assert (first.hessian == first.hessian.T).all()


def test_samples_that_cannot_be_trained_on_are_refused() -> None:
    with pytest.raises(TrainerError, match="do not belong"):
        Samples(np.zeros((3, 2), np.float32), np.zeros(4, bool))
    with pytest.raises(TrainerError, match="NaN"):
        Samples(np.array([[np.nan]], np.float32), np.zeros(1, bool))
    with pytest.raises(TrainerError, match="NO_EXAMPLES"):
        Moments.of([])
