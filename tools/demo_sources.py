# SPDX-License-Identifier: Apache-2.0
"""The studies that tools/demo starts from: made or given, looked at before any service starts."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pydicom
from pydicom.errors import InvalidDicomError

PHANTOM_SITES = ("north", "south", "west")
# More than twice the smallest number that a node tells, so that counts are told.
PHANTOM_PATIENTS = 12
PHANTOM_SEED = 7
SHORTEST_WORD = 5
# base::IsNodeName, and none of the folders that a mesh has beside those of its nodes.
NODE_NAME = re.compile(r"[a-z][a-z0-9-]{1,31}")
NOT_NODES = ("hub", "contexts")
TAGS = ["PatientID", "PatientName", "PatientBirthDate", "Modality", "StructureSetROISequence"]


class Unfit(Exception):
    """Studies with which the journey cannot be gone."""


@dataclass
class Patient:
    """What the files of one PatientID say."""

    modalities: set[str] = field(default_factory=set)
    contours: set[str] = field(default_factory=set)
    sample: Path | None = None

    def has_contour(self, roi: str) -> bool:
        """Whether a contour has that name, or goes on after it as `oncomesh image mask` allows."""
        name = re.compile(re.escape(roi.strip()) + r"([_. -].*)?", re.IGNORECASE)
        return any(name.fullmatch(contour.strip()) for contour in self.contours)


@dataclass
class Sources:
    """Studies by node."""

    folders: dict[str, Path]
    patients: dict[str, dict[str, Patient]]
    # As the sources write it, with all the spellings in which it may be written elsewhere.
    words: dict[str, set[str]]  # IDs, names, folders of patients
    dates: dict[str, set[str]]  # of birth

    @property
    def modalities(self) -> list[str]:
        """CT and PT where every patient has a PET, else CT alone."""
        everybody = [patient for node in self.patients.values() for patient in node.values()]
        return ["CT", "PT"] if all("PT" in patient.modalities for patient in everybody) else ["CT"]

    def with_modality(self, node: str, modality: str) -> int:
        """How many patients of a node have images of that kind."""
        return sum(modality in patient.modalities for patient in self.patients[node].values())

    def samples(self) -> Iterator[Path]:
        """One object of each patient."""
        for patients in self.patients.values():
            for patient in patients.values():
                if patient.sample is not None:
                    yield patient.sample


def phantoms(out: Path, synth: Callable[..., object]) -> Path:
    """Phantom studies in `out`, each time the same."""
    # --force replaces what an earlier synth wrote, also in part, and nothing else.
    synth("synth", "--out", str(out), "--sites", ",".join(PHANTOM_SITES), "--patients", str(PHANTOM_PATIENTS),
          "--seed", str(PHANTOM_SEED), "--modality", "CT", "PT", "--force")
    return out


def read(data: Path, roi: str) -> Sources:
    """Looks at every object's header. Raises Unfit with what is missing."""
    if not data.is_dir():
        raise Unfit(f"{data} is no folder")
    folders = {path.name: path for path in sorted(data.iterdir())
               if path.is_dir() and not path.name.startswith(".")}
    if len(folders) < 2:
        raise Unfit(f"{data} must hold a folder per node, at least two")
    for name in folders:
        if not NODE_NAME.fullmatch(name) or name in NOT_NODES:
            raise Unfit(f"every folder in {data} is a node, and {name!r} is no name of one: two to 32 of a-z, 0-9 "
                        f"and '-', a letter first, none of {', '.join(NOT_NODES)}")
    sources = Sources(folders, {}, {}, {})
    for name, folder in folders.items():
        sources.patients[name] = _read_node(folder, sources)
    wanted = {*sources.modalities, "RTSTRUCT"}
    for name, patients in sources.patients.items():
        fit = sum(wanted <= patient.modalities and patient.has_contour(roi) for patient in patients.values())
        if fit < 2:
            raise Unfit(f"{name} has {len(patients)} patients, and {fit} of them have {', '.join(sorted(wanted))} with a "
                        f"contour named {roi}; two are the least (--roi names another contour)")
    return sources


def _read_node(folder: Path, sources: Sources) -> dict[str, Patient]:
    patients: dict[str, Patient] = {}
    for path in sorted(folder.rglob("*")):
        if not path.is_file():
            continue
        try:
            header = pydicom.dcmread(path, stop_before_pixels=True, specific_tags=TAGS)
        except (InvalidDicomError, OSError):
            continue
        if not (identifier := str(header.get("PatientID", "")).strip()):
            continue
        patient = patients.setdefault(identifier, Patient(sample=path))
        patient.modalities.add(str(header.get("Modality", "")))
        patient.contours |= {str(entry.get("ROIName", "")) for entry in header.get("StructureSetROISequence", [])}
        name = str(header.get("PatientName", "")).strip()
        inside = path.relative_to(folder).parts
        for word in {identifier, name, *inside[:-1][:1]}:
            if len(word) >= SHORTEST_WORD:
                sources.words[word] = {word, word.replace("^", " ")}
        born = str(header.get("PatientBirthDate", "")).strip()
        if re.fullmatch(r"\d{8}", born):
            sources.dates[born] = {born, f"{born[:4]}-{born[4:6]}-{born[6:]}"}
    return patients
