# SPDX-License-Identifier: Apache-2.0
"""Finds the tumour in the voxels of PET/CT, or of CT alone: features per voxel at three scales."""

from collections.abc import Sequence
from itertools import combinations

import numpy as np
from oncomesh.trainer import Case, LogisticTrainer, Samples, run

SCALES = (2.0, 5.0, 15.0)  # mm: about a voxel, a lesion's edge, a lesion


def intensity(case: Case, modality: str, body: np.ndarray) -> np.ndarray:
    """CT keeps its unit, Hounsfield's, which means the same everywhere. Uptake spans two decades
    and depends on the patient: its logarithm, relative to the patient's body; MR relative too.
    """
    values = case.volume(modality).array
    if modality == "CT":
        return np.asarray(np.clip(values, -110, 290) / 100 - 0.9)  # fat to vessels: -2 to 2
    values = np.log1p(np.maximum(values, 0)) if modality == "PT" else values
    return (values - values[body].mean()) / (values[body].std() + 1e-6)


def samples(case: Case, modalities: Sequence[str]) -> Samples:
    """Every voxel of the body, with features of its neighbourhood and whether it is tumour."""
    from scipy import ndimage  # takes longer to import than a round to compute

    mask, ct = case.mask(), case.volume("CT")
    scales = [mm / np.array(ct.spacing) for mm in SCALES]
    body = ndimage.gaussian_filter((ct.array > -300).astype(np.float32), scales[0]) > 0.5
    features, middle = [], []
    for modality in modalities:
        image = intensity(case, modality, body)
        smooth = [ndimage.gaussian_filter(image, s, truncate=3) for s in scales]
        squares = [ndimage.gaussian_filter(image**2, s, truncate=3) for s in scales[1:]]
        features += [*smooth, *(s**2 for s in smooth)]
        features += [
            np.sqrt(np.maximum(q - s**2, 0)) for q, s in zip(squares, smooth[1:], strict=True)
        ]
        features += [ndimage.gaussian_gradient_magnitude(image, 0.7 * scales[1], truncate=3)]
        middle += [smooth[1]]
    features += [a * b for a, b in combinations(middle, 2)]  # bright in both
    table = np.stack([feature[body] for feature in features], axis=1).astype(np.float32)
    return Samples(table, mask[body], missed=int(np.count_nonzero(mask & ~body)))


if __name__ == "__main__":
    run(LogisticTrainer(samples))
