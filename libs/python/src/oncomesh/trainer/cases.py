# SPDX-License-Identifier: Apache-2.0
"""The prepared images of one study, as a trainer sees them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from oncomesh.trainer.errors import TrainerError


@dataclass(frozen=True)
class Volume:
    """A 3D image: `array` [i, j, k], `spacing` in mm along each, `affine` voxel to mm (RAS)."""

    array: NDArray[np.float32]
    spacing: tuple[float, float, float]
    affine: NDArray[np.float64]


class Case:
    """One study: images of its modalities and, when contoured, the tumour mask, all on one grid."""

    def __init__(self, folder: Path, index: int = 0) -> None:
        self._folder = folder
        # Messages name a case by its place in the task: its code must not leave the node.
        self._index = index

    @property
    def code(self) -> str:
        """The case's name in the task, unique at this node."""
        return self._folder.name

    @cached_property
    def description(self) -> Mapping[str, Any]:
        """case.json. Raises TrainerError CASE_UNREADABLE."""
        try:
            description = json.loads((self._folder / "case.json").read_bytes())
        except (OSError, ValueError) as error:
            raise self._unreadable("case.json") from error
        if not isinstance(description, dict):
            raise self._unreadable("case.json")
        return description

    @property
    def patient(self) -> str:
        """Code of the patient; cases of one patient must not be split between training and test."""
        patient = self.description.get("patient")
        if not isinstance(patient, str) or not patient:
            raise self._unreadable("case.json")
        return patient

    @property
    def modalities(self) -> tuple[str, ...]:
        """The images there are, e.g. ("CT", "PT"), sorted."""
        names = (p.name.removesuffix(".nii.gz") for p in self._folder.glob("*.nii.gz"))
        return tuple(sorted(name for name in names if name != "mask"))

    @property
    def has_mask(self) -> bool:
        """Whether the tumour was contoured."""
        return (self._folder / "mask.nii.gz").is_file()

    def volume(self, modality: str) -> Volume:
        """CT in HU, PT in SUV, MR in the units of preparation.

        Raises TrainerError MODALITY_MISSING, CASE_UNREADABLE, CASE_NOT_FINITE, GRID_MISMATCH.
        """
        if modality not in self.modalities:
            raise TrainerError(
                "MODALITY_MISSING",
                f"case {self._index} has no {modality}, only {', '.join(self.modalities)}; name "
                "the modalities to use in the plan",
            )
        return self._load(modality)

    def mask(self) -> NDArray[np.bool_]:
        """True inside the tumour. Raises TrainerError MASK_MISSING and those of `volume`."""
        if not self.has_mask:
            raise TrainerError("MASK_MISSING", f"case {self._index} has no tumour contour")
        mask: NDArray[np.bool_] = self._load("mask").array > 0.5
        return mask

    def _load(self, name: str) -> Volume:
        # Imported here because a round whose features are cached opens no image at all.
        from nibabel.filebasedimages import ImageFileError
        from nibabel.nifti1 import Nifti1Image
        from nibabel.spatialimages import HeaderDataError

        try:
            image = Nifti1Image.from_filename(self._folder / f"{name}.nii.gz")
            array = np.asarray(image.dataobj, dtype=np.float32)
            spacing = tuple(float(s) for s in image.header.get_zooms()[:3])
            affine = np.asarray(image.affine, dtype=np.float64)
        except (OSError, EOFError, ValueError, ImageFileError, HeaderDataError) as error:
            raise self._unreadable(f"{name}.nii.gz") from error
        if array.ndim != 3 or min(array.shape) < 1:
            raise self._unreadable(f"{name}.nii.gz")
        if not np.isfinite(array).all():
            raise TrainerError(
                "CASE_NOT_FINITE", f"{name} of case {self._index} has a NaN or an infinity"
            )
        grid = (array.shape, np.round(affine, 3).tolist())
        if grid != self.__dict__.setdefault("_grid", grid):
            raise TrainerError(
                "GRID_MISMATCH",
                f"the images of case {self._index} do not lie on one grid; prepare it again",
            )
        return Volume(array, (spacing[0], spacing[1], spacing[2]), affine)

    def _unreadable(self, what: str) -> TrainerError:
        return TrainerError("CASE_UNREADABLE", f"{what} of case {self._index} cannot be read")
