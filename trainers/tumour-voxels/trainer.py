# SPDX-License-Identifier: Apache-2.0
"""Finds the tumour in the voxels of PET/CT, or of CT alone: features per voxel at three scales."""

from collections.abc import Sequence
from itertools import combinations

import numpy as np
from oncomesh.trainer import Case, LogisticTrainer, Samples, run

SCALES = (2.0, 6.0, 18.0)  # mm; below a voxel, a lesion's edge, a lesion
# Soft tissue in hundreds of HU; uptake by its logarithm, for it spans two decades; MR as prepared.
INTENSITY = {
    "CT": lambda hu: np.clip(hu, -200, 200) / 100,
    "PT": lambda suv: np.log1p(np.maximum(suv, 0)),
    "MR": lambda intensity: intensity,
}


def samples(case: Case, modalities: Sequence[str]) -> Samples:
    """Every voxel of the body, with features of its neighbourhood and whether it is tumour."""
    from scipy import ndimage  # takes longer to import than a round to compute

    mask, ct = case.mask(), case.volume("CT")
    scales = [mm / np.array(ct.spacing) for mm in SCALES]
    body = ndimage.gaussian_filter((ct.array > -300).astype(np.float32), scales[0]) > 0.5
    features, middle = [], []
    for modality in modalities:
        image = INTENSITY[modality](case.volume(modality).array)
        relative = (image - image[body].mean()) / (image[body].std() + 1e-6)  # of this patient
        smooth = [ndimage.gaussian_filter(relative, s, truncate=3) for s in scales]
        squares = ndimage.gaussian_filter(relative**2, scales[1], truncate=3)
        features += [*smooth, *(s**2 for s in smooth)]
        features += [ndimage.gaussian_filter(image, scales[1], truncate=3)]
        features += [ndimage.gaussian_gradient_magnitude(relative, scales[1] * 0.7, truncate=3)]
        features += [np.sqrt(np.maximum(squares - smooth[1] ** 2, 0))]  # heterogeneity
        middle += [smooth[1]]
    features += [a * b for a, b in combinations(middle, 2)]  # bright in both
    table = np.stack([feature[body] for feature in features], axis=1).astype(np.float32)
    return Samples(table, mask[body], missed=int(np.count_nonzero(mask & ~body)))


if __name__ == "__main__":
    run(LogisticTrainer(samples))
