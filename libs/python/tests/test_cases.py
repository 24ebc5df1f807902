# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import shutil

import nibabel
import numpy as np
import pytest
from conftest import MakeCase

from oncomesh.trainer import Case, TrainerError


def test_a_case_gives_its_images_on_one_grid(make_case: MakeCase) -> None:
    case = Case(make_case("a1", 1, patient="P1"))
    assert (case.code, case.patient, case.modalities) == ("a1", "P1", ("CT", "PT"))
    ct = case.volume("CT")
    assert ct.array.shape == case.volume("PT").array.shape == case.mask().shape
    assert ct.array.dtype == np.float32
    assert ct.spacing == (4.0, 4.0, 4.0)
    assert case.mask().any()


def test_a_missing_modality_is_named_but_not_the_case(make_case: MakeCase) -> None:
    case = Case(make_case("secretcode", 1), index=3)
    with pytest.raises(TrainerError, match="MODALITY_MISSING") as caught:
        case.volume("MR")
    assert "case 3" in str(caught.value)
    assert "secretcode" not in str(caught.value)


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        ("truncated", "CASE_UNREADABLE"),
        ("garbage", "CASE_UNREADABLE"),
        ("nan", "CASE_NOT_FINITE"),
        ("grid", "GRID_MISMATCH"),
        ("4d", "CASE_UNREADABLE"),
        ("no mask", "MASK_MISSING"),
        ("case.json", "CASE_UNREADABLE"),
    ],
)
def test_damage_is_told_by_its_reason(make_case: MakeCase, damage: str, reason: str) -> None:
    folder = make_case("a1", 1)
    image = nibabel.Nifti1Image.from_filename(folder / "PT.nii.gz")
    array, affine = np.asarray(image.dataobj, np.float32), image.affine
    if damage == "truncated":
        content = (folder / "PT.nii.gz").read_bytes()
        (folder / "PT.nii.gz").write_bytes(content[: len(content) // 2])
    elif damage == "garbage":
        (folder / "PT.nii.gz").write_bytes(b"not an image")
    elif damage == "nan":
        array[3, 3, 3] = np.nan
        nibabel.save(nibabel.Nifti1Image(array, affine), folder / "PT.nii.gz")
    elif damage == "grid":
        nibabel.save(nibabel.Nifti1Image(array[:-1], affine), folder / "PT.nii.gz")
    elif damage == "4d":
        nibabel.save(nibabel.Nifti1Image(array[..., None], affine), folder / "PT.nii.gz")
    elif damage == "no mask":
        (folder / "mask.nii.gz").unlink()
    else:
        (folder / "case.json").write_text("[]")
    case = Case(folder)
    with pytest.raises(TrainerError) as caught:
        case.volume("CT")
        case.volume("PT")
        case.mask()
        assert case.patient
    assert caught.value.reason == reason
    shutil.rmtree(folder)
