# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import f1_score, roc_auc_score

from oncomesh.trainer import auc, dice


@pytest.mark.parametrize("seed", range(5))
def test_auc_is_scikit_learns_also_with_ties(seed: int) -> None:
    random = np.random.default_rng(seed)
    labels = random.random(500) < 0.2
    scores = np.round(random.normal(labels * 1.0, 1.0), seed)  # few decimals: many ties
    assert auc(scores, labels) == pytest.approx(roc_auc_score(labels, scores), abs=1e-12)


def test_auc_of_one_class_is_none() -> None:
    assert auc(np.array([0.1, 0.2]), np.array([True, True])) is None
    assert auc(np.array([0.1, 0.2]), np.array([False, False])) is None


def test_dice_is_the_f1_score() -> None:
    random = np.random.default_rng(1)
    labels, found = random.random(300) < 0.3, random.random(300) < 0.4
    assert dice(found, labels) == pytest.approx(f1_score(labels, found), abs=1e-12)


def test_dice_counts_positives_that_could_not_be_found() -> None:
    labels = np.array([True, True, False])
    assert dice(labels, labels, missed=0) == 1.0
    assert dice(labels, labels, missed=4) == pytest.approx(2 * 2 / (2 + 2 + 4))
    assert dice(np.zeros(3, bool), np.zeros(3, bool)) == 1.0
