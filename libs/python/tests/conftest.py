# SPDX-License-Identifier: Apache-2.0
"""Phantom cases: a body of water with a bright ball in it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import nibabel
import numpy as np
import pytest

MakeCase = Callable[..., Path]


def write_case(
    folder: Path, seed: int, *, patient: str = "", modalities: tuple[str, ...] = ("CT", "PT")
) -> Path:
    """A prepared case as a node writes it: 24 × 22 × 20 voxels of 4 mm."""
    random = np.random.default_rng(seed)
    shape = (24, 22, 20)
    grid = np.stack(np.meshgrid(*(np.arange(n) for n in shape), indexing="ij"))
    middle = np.array([12, 11, 10])[:, None, None, None]
    body = (((grid - middle) / np.array([10, 9, 12])[:, None, None, None]) ** 2).sum(0) < 1
    at = np.array([12, 11, 10]) + random.integers(-3, 4, 3)
    tumour = ((grid - at[:, None, None, None]) ** 2).sum(0) < random.uniform(2.2, 3.5) ** 2
    images = {
        "CT": np.where(body, 20.0, -1000.0) + 40.0 * tumour + random.normal(0, 15, shape),
        "PT": np.where(body, 1.0, 0.0)
        + random.uniform(3, 6) * tumour
        + random.gamma(2.0, 0.1, shape),
        "MR": random.normal(0, 1, shape),
    }
    folder.mkdir(parents=True)
    affine = np.diag([4.0, 4.0, 4.0, 1.0])
    for name in modalities:
        image = nibabel.Nifti1Image(images[name].astype(np.float32), affine)
        nibabel.save(image, folder / f"{name}.nii.gz")
    nibabel.save(nibabel.Nifti1Image(tumour.astype(np.uint8), affine), folder / "mask.nii.gz")
    (folder / "case.json").write_text(json.dumps({"patient": patient or folder.name}))
    return folder


@pytest.fixture
def make_case(tmp_path: Path) -> MakeCase:
    def make(code: str, seed: int, **options: object) -> Path:
        return write_case(tmp_path / "cases" / code, seed, **options)  # type: ignore[arg-type]

    return make
