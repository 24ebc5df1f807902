# SPDX-License-Identifier: Apache-2.0
"""What tools/demo refuses, and what it would not overlook; .ci/run goes the journey itself."""

from __future__ import annotations

import base64
import gzip
import shutil
from pathlib import Path
from typing import Any

import demo_journey
import demo_sources
import pydicom
import pytest
from demo_journey import Journey, Step

from mesh_testing.mesh import PROGRAM

ROI = "GTV_Mass"


def test_a_mesh_of_somebody_else_is_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stopped: list[Path] = []

    def down(mesh: Path) -> None:
        assert (mesh / "mesh.json").exists()
        stopped.append(mesh)

    monkeypatch.setattr(demo_journey, "down", down)
    mesh = tmp_path / "mesh"
    mesh.mkdir()
    (mesh / "mesh.json").write_text("{}")
    with pytest.raises(Step, match="not made by tools/demo"):
        demo_journey.clear(tmp_path)
    assert mesh.exists() and not stopped
    # An earlier demo's is stopped before its files are removed.
    shutil.rmtree(mesh)
    demo_journey.clear(tmp_path)
    mesh.mkdir()
    (mesh / "mesh.json").write_text("{}")
    demo_journey.clear(tmp_path)
    assert stopped == [mesh] and not mesh.exists()


def test_a_mesh_that_does_not_stop_is_not_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(demo_journey, "PROGRAM", PROGRAM)
    demo_journey.clear(tmp_path)
    (tmp_path / "mesh").mkdir()
    (tmp_path / "mesh" / "mesh.json").write_text("no mesh")
    with pytest.raises(Step, match="could not be stopped"):
        demo_journey.clear(tmp_path)
    assert (tmp_path / "mesh" / "mesh.json").exists()


def test_studies_are_looked_at_before_a_service_starts(studies: Path, tmp_path: Path) -> None:
    read = demo_sources.read(studies, ROI)
    assert read.modalities == ["CT"]
    assert [read.with_modality(node, "CT") for node in read.folders] == [3, 3]
    assert [read.with_modality(node, "PT") for node in read.folders] == [0, 0]
    for name, reason in (("Hub", "no name"), ("hub", "no name"), ("contexts", "no name"),
                         ("a", "no name"), ("empty", "two are the least")):  # fmt: skip
        data = tmp_path / name
        shutil.copytree(studies / "north", data / "north")
        (data / name).mkdir()
        with pytest.raises(demo_sources.Unfit, match=reason):
            demo_sources.read(data, ROI)
    with pytest.raises(demo_sources.Unfit, match="a contour named Liver"):
        demo_sources.read(studies, "Liver")
    shutil.copytree(studies / "north", tmp_path / "one" / "north")
    with pytest.raises(demo_sources.Unfit, match="a folder per node"):
        demo_sources.read(tmp_path / "one", ROI)
    with pytest.raises(demo_sources.Unfit, match="is no folder"):
        demo_sources.read(studies / "nowhere", ROI)


def test_a_contour_has_the_name_as_a_node_takes_it() -> None:
    patient = demo_sources.Patient(contours={"GTV_Mass_CT"})
    for name in ("GTV", "gtv_mass", "GTV_Mass", "GTV_Mass_CT"):
        assert patient.has_contour(name), name
    for name in ("GT", "Mass", "GTV_Mass_CT_2", "."):
        assert not patient.has_contour(name), name


def test_a_word_of_the_sources_is_found_in_every_spelling(studies: Path, tmp_path: Path) -> None:
    sources = demo_sources.read(studies, ROI)
    sample = pydicom.dcmread(next(sources.samples()), stop_before_pixels=True)
    born = str(sample.PatientBirthDate)
    journey = Journey(tmp_path / "mesh")
    place = journey.mesh / "north" / "log"
    place.mkdir(parents=True)
    log = place / "access.log"
    log.write_text(f"nothing but 2.25.7{born}8 and {'PHANTOM'}")
    demo_journey.nothing_identifying(journey, sources)
    assert journey.report["residualSearch"]["hits"] == 0
    # IDs, which are the folders, names and dates of six patients.
    assert journey.report["residualSearch"]["words"] == 18
    for content in (
        str(sample.PatientID).lower().encode("utf-16-le"),
        b"x" + gzip.compress(f"born {born}".encode()),
        f"born {born[:4]}-{born[4:6]}-{born[6:]}".encode(),
        base64.b64encode(b"a" + str(sample.PatientName).replace("^", " ").encode()),
    ):
        log.write_bytes(content)
        with pytest.raises(Step, match="north/log/access"):
            demo_journey.nothing_identifying(journey, sources)
    log.unlink()
    (place / f"{sample.PatientID}.dcm").write_bytes(b"")
    with pytest.raises(Step, match="is in"):
        demo_journey.nothing_identifying(journey, sources)
    sources.words.clear()
    sources.dates.clear()
    with pytest.raises(Step, match="name no patient"):
        demo_journey.nothing_identifying(journey, sources)


@pytest.mark.parametrize(
    ("told", "states", "refused"),
    [
        ({"north": 10, "south": None}, {}, ""),
        ({"north": 10, "south": None}, {"south": "VARIABLE_NOT_HELD"}, ""),
        ({"north": 10, "south": None}, {"south": "POLICY_REFUSES"}, "did not answer"),
        ({"north": None, "south": None}, {"north": "VARIABLE_NOT_HELD"}, "did not answer"),
        ({"north": None, "south": None}, {}, "instead of 10"),
        ({"north": 15, "south": None}, {}, "instead of 10"),
        ({"north": 10, "south": 5}, {}, "instead of None"),
        ({"north": 10}, {}, "answered have"),
    ],
)
def test_a_count_is_compared_with_the_sources(
    told: dict[str, int | None],
    states: dict[str, str],
    refused: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """`states` has the reasons of the nodes that refuse."""

    def patients(number: int) -> dict[str, demo_sources.Patient]:
        return {str(n): demo_sources.Patient({"CT"}) for n in range(number)}

    sources = demo_sources.Sources(
        {"north": tmp_path, "south": tmp_path},
        {"north": patients(12), "south": patients(8)},
        {},
        {},
    )
    nodes = [
        {
            "node": node,
            "state": "REFUSED" if node in states else "ANSWERED",
            "reasons": [{"reason": states[node]}] if node in states else [],
            "value": value,
            "minCell": 5,
            "rounding": 5,
        }
        for node, value in told.items()
    ]
    numbers = [value for value in told.values() if value is not None]
    total = {"value": sum(numbers) if numbers else None, "masked": len(numbers) < len(told)}
    journey = Journey(tmp_path / "mesh")
    journey.report["data"] = "phantoms"

    def run(*_: Any, **__: Any) -> dict[str, Any]:
        return {"nodes": nodes, "total": total}

    monkeypatch.setattr(journey, "run", run)
    if not refused:
        demo_journey.count(journey, sources, "CT")
        return
    with pytest.raises(Step, match=refused):
        demo_journey.count(journey, sources, "CT")
