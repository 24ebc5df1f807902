# SPDX-License-Identifier: Apache-2.0
"""Words of identified files are looked for in everything that the mesh writes and says."""

from __future__ import annotations

import base64
import gzip
import hashlib
import io
import re
import shutil
import sqlite3
import stat
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pydicom
from oncomesh.stubs.deidentification.v1 import deidentification_pb2, deidentification_pb2_grpc
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from mesh_testing import trainer
from mesh_testing.mesh import ROOT, Mesh, refusal
from mesh_testing.search import Search

WORD = "QZXJVKWYPD"  # in every text that is planted
NUMBER = "7719358264"  # in every number, UID and path
BIRTH, STUDY, DIAGNOSIS = "19370219", "20170823", "2017-08-19"
SPELLED = "2017-08-23"
BORN = "043817.159265"
# Dates are shifted by whole days, so a released image keeps the time of day; nothing else has it.
TIME = "071943.271828"
WORDS = (WORD, NUMBER, BIRTH, STUDY, SPELLED, DIAGNOSIS, "1937-02-19", BORN, TIME)

# Keywords of elements that hold text.
TEXTS = """
PatientName PatientID OtherPatientNames PatientBirthName PatientAddress PatientTelephoneNumbers
PatientComments PatientMotherBirthName MilitaryRank Occupation AdditionalPatientHistory
EthnicGroup MedicalRecordLocator PatientReligiousPreference IssuerOfPatientID AccessionNumber
StudyID InstitutionName InstitutionAddress InstitutionalDepartmentName StationName
ReferringPhysicianName ReferringPhysicianAddress PerformingPhysicianName PhysiciansOfRecord
NameOfPhysiciansReadingStudy RequestingPhysician OperatorsName StudyDescription
SeriesDescription ProtocolName ImageComments RequestedProcedureDescription
RequestedProcedureComments PerformedProcedureStepDescription PerformedProcedureStepID
ReasonForTheRequestedProcedure StudyComments AdmissionID CurrentPatientLocation
DeviceSerialNumber PlateID DetectorID AcquisitionComments DerivationDescription
ContrastBolusAgent ClinicalTrialSubjectID ClinicalTrialSiteName ServiceEpisodeDescription
StructureSetLabel StructureSetName StructureSetDescription ReviewerName ManufacturerModelName
SoftwareVersions ScheduledStudyLocation TextComments TextString
FillerOrderNumberImagingServiceRequest
"""
DATES = (
    "StudyDate",
    "SeriesDate",
    "AcquisitionDate",
    "ContentDate",
    "InstanceCreationDate",
    "StructureSetDate",
)


def renamed(uid: str) -> str:
    """The same object or class under a UID of our own, when it is not one of the standard."""
    if uid.startswith("1.2.840.10008."):
        return uid
    return f"1.3.6.1.4.1.{NUMBER}.{int(hashlib.sha256(uid.encode()).hexdigest()[:16], 16)}"


def planted(dataset: Dataset) -> Dataset:
    """The same object of another, nameable patient."""

    def change(_: Dataset, element: pydicom.DataElement) -> None:
        if element.VR == "UI" and element.value and element.tag.group != 2:
            values = element.value if element.VM > 1 else [element.value]
            fresh = [renamed(str(uid)) for uid in values]
            element.value = fresh if len(fresh) > 1 else fresh[0]

    dataset.walk(change)
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    patient = dataset.PatientID
    for keyword in TEXTS.split():
        setattr(dataset, keyword, f"{WORD} {keyword[:5].upper()}"[:16])
    dataset.PatientName = f"{WORD}^ANNA^^DR"
    dataset.PatientID = f"{WORD}-{hashlib.sha256(patient.encode()).hexdigest()[:5]}"
    dataset.PatientBirthDate = BIRTH
    dataset.PatientBirthTime = BORN
    for keyword in DATES:
        setattr(dataset, keyword, STUDY)
        setattr(dataset, keyword.replace("Date", "Time"), TIME)
    dataset.AcquisitionDateTime = STUDY + TIME
    dataset.RetrieveAETitle = WORD
    inner = Dataset()
    inner.PatientName, inner.PatientID, inner.TextValue = WORD, WORD, f"seen by {WORD} on {SPELLED}"
    inner.ReferencedSOPInstanceUID = f"1.3.6.1.4.1.{NUMBER}.9"
    outer = Dataset()
    outer.OtherPatientIDsSequence = Sequence([inner])
    outer.PersonName = WORD
    dataset.RequestAttributesSequence = Sequence([outer])
    dataset.OtherPatientIDsSequence = Sequence([inner])
    dataset.ContentSequence = Sequence([outer])
    private = dataset.private_block(0x0009, f"{WORD} PRIV", create=True)
    private.add_new(0x01, "LO", WORD)
    private.add_new(0x02, "UN", f"{WORD}\0".encode("utf-16-le"))
    private.add_new(0x03, "SQ", Sequence([outer]))
    private.add_new(0x04, "OB", gzip.compress(WORD.encode()))
    return dataset


def identified(studies: Path, folder: Path) -> Path:
    """The studies of a node with words in all of them, the files' and folders' names too."""
    for number, patient in enumerate(sorted(path for path in studies.iterdir() if path.is_dir())):
        for path in sorted(patient.rglob("*.dcm")):
            name = path.relative_to(patient).as_posix().replace("/", f"-{NUMBER}-")
            target = folder / f"{WORD}^{number}" / name
            target.parent.mkdir(parents=True, exist_ok=True)
            planted(pydicom.dcmread(path)).save_as(target)
    sample = next(iter(sorted(folder.rglob("*.dcm"))))
    held = folder / f"{WORD} held"
    held.mkdir()
    # What may show a name in its pixels waits for a person.
    burned = pydicom.dcmread(sample)
    burned.BurnedInAnnotation = "YES"
    burned.SOPInstanceUID = pydicom.uid.UID(f"1.3.6.1.4.1.{NUMBER}.1")
    burned.file_meta.MediaStorageSOPInstanceUID = burned.SOPInstanceUID
    burned.save_as(held / f"{WORD}-burned.dcm")
    # What ends in the middle, goes on behind its end, or is nothing at all.
    content = sample.read_bytes()
    (held / "cut.dcm").write_bytes(content[: len(content) // 2])
    (held / "cut-in-header.dcm").write_bytes(content[:700])
    (held / "more.dcm").write_bytes(content + f"behind the end: {WORD}".encode())
    (held / "text.dcm").write_text(f"{WORD} is no image. " * 50)
    (held / "meta-only.dcm").write_bytes(content[:132] + WORD.encode() * 20)
    deflated = pydicom.dcmread(sample)
    deflated.file_meta.TransferSyntaxUID = pydicom.uid.DeflatedExplicitVRLittleEndian
    deflated.SOPInstanceUID = pydicom.uid.UID(f"1.3.6.1.4.1.{NUMBER}.2")
    deflated.file_meta.MediaStorageSOPInstanceUID = deflated.SOPInstanceUID
    deflated.save_as(held / "deflated.dcm")
    table = (studies / "clinical.csv").read_text().splitlines()
    columns = table[0].split(",")
    lines = [table[0] + ",surname"]
    for path in sorted(folder.glob(f"{WORD}^*")):
        read = pydicom.dcmread(next(iter(path.glob("*.dcm"))))
        row = dict.fromkeys(columns, "")
        row.update(
            patient_id=read.PatientID,
            sex="F",
            birth_date="1937-02-19",
            diagnosis_date=DIAGNOSIS,
            topography="C49.2",
            free_text_note=f"{WORD} of {SPELLED}",
        )
        lines.append(",".join([*row.values(), WORD]))
    (folder / f"{WORD}.csv").write_text("\n".join(lines) + "\n")
    (held / f"{WORD}-wrong.csv").write_text(f"name,born\n{WORD},{BIRTH}\n")
    (held / "ragged.csv").write_text(lines[0] + "\n" + f'"{WORD},,,\n')
    (held / "bytes.csv").write_bytes(b"\xff\xfe" + f"patient_id\n{WORD}".encode("utf-16-le"))
    return folder


def containers(tmp: Path, word: str) -> Iterator[tuple[str, bytes]]:
    """Every form that the search must see through, with the word inside."""
    tmp.mkdir()
    raw = f"Some text, {word}, and more.".encode()
    yield "plain", raw
    yield "lower case", raw.lower()
    for encoding in ("utf-16-le", "utf-16-be", "latin-1"):
        yield encoding, f"Müller {word} x".encode(encoding)
    for shift in range(3):
        yield f"base64 {shift}", b"x=" + base64.b64encode(b"a" * shift + raw) + b";"
        yield f"base64url {shift}", base64.urlsafe_b64encode(b"\xff" * shift + raw)
    yield "hex", raw.hex().encode()
    yield "gzip", gzip.compress(raw)
    yield "two gzip members", gzip.compress(b"first member") + gzip.compress(raw)
    yield "gzip in other bytes", b"before" + gzip.compress(raw) + b"after"
    yield "gzip that is cut", gzip.compress(raw * 3 + np.random.default_rng(1).bytes(9999))[:-3000]
    for level in (0, 1, 6, 9):
        yield f"zlib {level}", b"\0" * 7 + zlib.compress(raw, level) + b"\1"
    yield "gzip in gzip", gzip.compress(b"shell" + gzip.compress(raw))
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.txt", raw * 2)
    yield "zip", packed.getvalue()
    arrays = io.BytesIO()
    np.savez_compressed(arrays, names=np.array([word, "other"]))
    yield "npz", arrays.getvalue()
    image = nibabel.Nifti1Image(np.zeros((4, 4, 4), np.float32), np.eye(4))
    image.header["descrip"] = word
    image.to_filename(tmp / "image.nii.gz")
    yield "nii.gz", (tmp / "image.nii.gz").read_bytes()
    meta = pydicom.dataset.FileMetaDataset()
    meta.TransferSyntaxUID = pydicom.uid.DeflatedExplicitVRLittleEndian
    meta.MediaStorageSOPClassUID = pydicom.uid.CTImageStorage
    meta.MediaStorageSOPInstanceUID = pydicom.uid.UID("1.2.3")
    dataset = Dataset()
    dataset.file_meta, dataset.PatientName = meta, word
    dataset.save_as(tmp / "deflated.dcm", enforce_file_format=True)
    yield "deflated DICOM", (tmp / "deflated.dcm").read_bytes()
    with sqlite3.connect(tmp / "rows.db") as database:
        database.execute("PRAGMA journal_mode=WAL")
        database.execute("CREATE TABLE rows (text TEXT)")
        database.execute("INSERT INTO rows VALUES (?)", (word,))
        database.commit()
        yield "SQLite and its WAL", (tmp / "rows.db-wal").read_bytes()


def test_the_search_finds_what_is_hidden(tmp_path: Path) -> None:
    search = Search(WORDS)
    for name, content in containers(tmp_path / "with", WORD):
        assert search.find(content) == {WORD}, name
    for name, content in containers(tmp_path / "without", WORD[::-1]):
        assert search.find(content) == set(), name
    for word in WORDS:
        assert search.find(f"<{word}>".encode()) == {word}
    # At the beginning, at the end, and across the blocks in which it looks.
    for before, after in ((0, 0), (0, 9), (9, 0), ((1 << 24) - 4, 0), ((1 << 24) - 1, 1 << 20)):
        content = b"." * before + WORD.encode() + b"." * after
        assert search.find(content) == {WORD}, (before, after)
    assert search.find(WORD[:-1].encode()) == set()
    assert search.find(np.random.default_rng(2).bytes(1 << 20)) == set()


def test_a_number_is_found_only_as_a_whole() -> None:
    search = Search([NUMBER], numbers=[BIRTH])
    assert search.find(f"1{NUMBER}2".encode()) == {NUMBER}
    for alone in (BIRTH, f"a{BIRTH}b", f"-{BIRTH}.", f"1{BIRTH} {BIRTH}"):
        assert search.find(alone.encode()) == {BIRTH}, alone
    for part in (f"1{BIRTH}", f"{BIRTH}2", f"2.25.4{BIRTH}7"):
        assert search.find(part.encode()) == set(), part


def hits(mesh: Mesh, search: Search) -> list[tuple[str, set[str]]]:
    """Where words are below the mesh's folder: in contents and in names."""
    found = []
    for path in sorted(mesh.folder.rglob("*")):
        name = path.relative_to(mesh.folder).as_posix()
        if words := search.find(name.encode()):
            found.append((f"the name {name}", words))
        if not path.is_file() or path.is_symlink():
            continue
        words = search.find(path.read_bytes())
        if "/objects/" in name:
            words.discard(TIME)
        if words:
            found.append((name, words))
    return found


def test_no_word_of_a_patient_leaves_the_intake(
    make_mesh: Callable[..., Mesh], studies: Path, tmp_path: Path
) -> None:
    mesh = make_mesh()
    search = Search(WORDS)
    sources = {node: identified(studies / node, tmp_path / f"{WORD}-{node}") for node in mesh.nodes}
    assert (
        set(WORDS)
        - search.find(b"".join(p.read_bytes() for p in sources["north"].rglob("*") if p.is_file()))
        == set()
    )

    # Released, held and refused; loudly and quietly, and once more.
    for node, source in sources.items():
        done = mesh.run(f"holder-{node}", "ingest", str(source)).document
        assert done["objects"]["released"] > 50 and done["objects"]["failed"] == 0, done
        reasons = {entry["reason"] for entry in done["quarantine"]}
        assert len(reasons) >= 5, reasons
        mesh.run(f"holder-{node}", "ingest", str(source), flags=("-o", "text"))
        listed = mesh.run(f"holder-{node}", "quarantine", "list").document["objects"]
        assert len(listed) >= 8
        for entry in listed[:4]:
            mesh.run(f"holder-{node}", "quarantine", "release", entry["id"], allow=(1,))
        mesh.run(f"holder-{node}", "quarantine", "delete", listed[-1]["id"])
    mesh.refused("holder-north", "ingest", str(sources["north"] / f"{WORD} is not there"))
    broken_stream(mesh)

    # The whole way to a model.
    folder = ROOT / "trainers" / "tumour-voxels"
    for node in mesh.nodes:
        target = mesh.folder / node / "trainers" / folder.name
        shutil.copytree(folder, target, ignore=shutil.ignore_patterns("__pycache__"))
    digest = trainer.digest_of(mesh.folder / "north" / "trainers" / folder.name)
    for node in mesh.nodes:
        mesh.policy(node, trainerDigests=[digest], minCell=2, rounding=1, minPatients=1)
    datasets = [mesh.freeze(node) for node in mesh.nodes]
    for words in (("sex",), ("diagnosis",), ("study_year", "manufacturer")):
        mesh.run("researcher", "count", "age >= 0", "--by", *words, allow=(0, 1, 3))
    wrong: list[tuple[str, ...]] = [
        ("count", "age >="),
        ("count", 'nosuch = "x"'),
        ("count", "age = 1 and"),
        ("datasets", "show", "nodes/north/datasets/nosuch/versions/1"),
        ("run", "show", "run-none"),
        ("permit", "show", "permit-none"),
    ]
    for attempt in wrong:
        assert mesh.refused("researcher", *attempt)
    assert mesh.refused("holder-north", "dataset", "publish", "nosuch")
    assert mesh.refused(
        "holder-north",
        "dataset",
        "create",
        "d2",
        "--title",
        "t",
        "--where",
        "age ?",
        "--duo",
        "DUO:0000042",
    )
    # Who asks for a patient by name is answered, and nobody writes it down.
    said = len(mesh.transcript)
    mesh.run("researcher", "count", f'manufacturer = "{WORD}"', allow=(0, 1, 3))
    mesh.run("researcher", "count", f"{WORD} = 1", allow=(2,))
    del mesh.transcript[said:]
    permit = mesh.permit(datasets)
    plan: dict[str, Any] = {
        "name": "Tumour voxels", "strategy": "NEWTON", "rounds": 1, "datasets": datasets,
        "roundDeadline": "120s", "trainer": {"name": folder.name, "digest": digest},
        "caseInputs": {"modalities": ["CT"], "roi": "GTV_Mass", "spacing": [8, 8, 8]},
        "model": {"tensors": {"intercept": {"shape": [1]}, "weights": {"shape": [9]}}},
        "statistics": {"tensors": {"count": {"shape": [1]}, "sum": {"shape": [9]},
                                   "sum_of_squares": {"shape": [9]}}},
        "step": {"l2": 1e-3, "unregularised": ["intercept"]},
        "metrics": ["loss", "auc", "dice"], "evaluate": {"heldOut": 0.34},
    }  # fmt: skip
    run = mesh.submit(plan, permit).document["name"]
    assert mesh.ended(run, 150)["state"] == "SUCCEEDED"
    mesh.ask("researcher", "run", "model", run, "--out", str(mesh.folder / "model.safetensors"))
    mesh.ask("committee", "permit", "revoke", permit, "--reason", "the story ends")
    for site in ("hub", *mesh.nodes):
        mesh.ask("auditor", "audit", "show", "--site", site)
        mesh.ask("auditor", "audit", "verify", "--site", site)
    mesh.ask("operator", "status")

    # Everything said.
    for outcome in mesh.transcript:
        assert search.find((outcome.out + outcome.err).encode()) == set(), outcome
    for error in mesh.errors:
        assert search.find(str(error).encode()) == set(), error
    for site, service in mesh.services():
        page = mesh.metrics(site, service)
        assert "# HELP" in page
        assert search.find(page.encode()) == set(), (site, service)
    # Everything written. What is held is sealed, so that not even there a word can be read.
    written = [path for path in mesh.folder.rglob("*") if path.is_file()]
    for kind in (".db", ".db-wal", ".log", ".nii.gz", ".safetensors", ".sealed"):
        assert [path for path in written if path.name.endswith(kind)], kind
    assert hits(mesh, search) == []
    for node in mesh.nodes:
        held = mesh.folder / node / "deidentification" / "quarantine"
        sealed = [path for path in held.iterdir() if path.is_file()]
        assert len(sealed) >= 7
        assert stat.S_IMODE(held.stat().st_mode) == 0o700
        for path in sealed:
            assert stat.S_IMODE(path.stat().st_mode) == 0o600
            assert path.read_bytes().startswith(b"oncomesh-seal/1\n")
        assert not list((mesh.folder / node / "deidentification" / "work").iterdir())


def broken_stream(mesh: Mesh) -> None:
    """Streams that end or go on where they must not, with words in their chunks."""
    part = deidentification_pb2.IngestRequest
    header = part(header=deidentification_pb2.ObjectHeader(index=1, kind=1, size=100))  # type: ignore[arg-type]
    word = part(chunk=WORD.encode() * 5)
    stub = deidentification_pb2_grpc.DeidentificationServiceStub(mesh.front_door("north"))
    for parts in (
        [word],
        [header, header],
        [header, word],
        [header, word, part(finish={})],
        [header, word] * 3,
    ):
        bearer = mesh.bearer("holder-north")
        error = refusal(
            lambda parts=parts, bearer=bearer: list(
                stub.Ingest(iter(parts), timeout=10, metadata=bearer)
            )
        )
        mesh.errors.append(error)
    assert re.fullmatch("[A-Z_]+", mesh.errors[0].reason)
