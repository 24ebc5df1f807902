# SPDX-License-Identifier: Apache-2.0
"""Tensor files (safetensors), written so that a reader never sees half a file."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load, save

from oncomesh.trainer.errors import TrainerError

Tensors = dict[str, NDArray[np.float64]]


def read_tensors(path: Path) -> Tensors:
    """Every tensor of a file as float64. Raises TrainerError TENSOR_FILE_INVALID."""
    try:
        found = load(path.read_bytes())
    except (OSError, SafetensorError, ValueError, KeyError) as error:
        raise TrainerError(
            "TENSOR_FILE_INVALID", f"{path.name} is not a readable tensor file"
        ) from error
    return {name: np.asarray(value, dtype=np.float64) for name, value in found.items()}


def write_tensors(path: Path, tensors: Mapping[str, NDArray[np.floating]]) -> None:
    """Writes float32 tensors as such and the others as float64; the same tensors, the same bytes.

    Raises TrainerError UPDATE_NOT_FINITE when a value is NaN or infinite: the coordinator would
    refuse it.
    """
    for name, value in tensors.items():
        if not np.isfinite(value).all():
            raise TrainerError(
                "UPDATE_NOT_FINITE",
                f"tensor '{name}' has a NaN or an infinity; a smaller step or an L2 penalty helps",
            )
    kept = {
        name: np.ascontiguousarray(
            value, dtype=np.float32 if value.dtype == np.float32 else np.float64
        )
        for name, value in sorted(tensors.items())
    }
    write_whole(path, save(kept))


def write_whole(path: Path, content: bytes) -> None:
    """The file appears under its name only when all of it is on the disk."""
    partial = path.with_name(path.name + ".partial")
    with partial.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    partial.rename(path)
