# SPDX-License-Identifier: Apache-2.0
"""How good a prediction is."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def auc(scores: NDArray[np.floating], labels: NDArray[np.bool_]) -> float | None:
    """Area under the ROC curve: the chance that a positive scores higher than a negative, ties
    counted half (Mann-Whitney U / (P·N); Hanley and McNeil 1982). None when a class is empty.
    """
    positive = scores[labels]
    negative = np.sort(scores[~labels])
    if positive.size == 0 or negative.size == 0:
        return None
    below = np.searchsorted(negative, positive, side="left")
    not_above = np.searchsorted(negative, positive, side="right")
    # Integers, so that the sum is exact whatever the order.
    twice = int(below.sum(dtype=np.int64)) + int(not_above.sum(dtype=np.int64))
    return twice / 2 / (positive.size * negative.size)


def dice(predicted: NDArray[np.bool_], labels: NDArray[np.bool_], missed: int = 0) -> float:
    """Dice coefficient 2·|A∩B| / (|A|+|B|), 0 to 1; 1 for two empty sets.

    `missed` is the number of positives that are not among `labels`.
    """
    both = int(np.count_nonzero(predicted & labels))
    size = int(np.count_nonzero(predicted)) + int(np.count_nonzero(labels)) + missed
    return 1.0 if size == 0 else 2 * both / size
