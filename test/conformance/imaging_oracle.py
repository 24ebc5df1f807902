#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Compares `oncomesh image` with independent programs on real studies.

pydicom decodes and computes uptake values, scikit-image fills contours, nibabel reads NIfTI,
SimpleITK resamples and corrects bias fields. Nothing here comes from this project but the program
under test.

    imaging_oracle.py --oncomesh BIN --data DIR [--patients N]

DIR is laid out as <node>/<patient>/{CT,MR_T1,PET}/{image/*.dcm,mask/RS.dcm}. Exit status 0 when
everything agrees, 77 when DIR is absent. Needs pydicom, numpy, nibabel, SimpleITK, scikit-image.
"""

import argparse
import datetime
import glob
import hashlib
import json
import os
import subprocess
import sys
import tempfile
import warnings

import nibabel
import numpy as np
import pydicom
import SimpleITK as sitk
from skimage.draw import polygon2mask

warnings.filterwarnings("ignore")
MODALITIES = ("CT", "MR_T1", "PET")
RAS_TO_LPS = np.diag([-1.0, -1.0, 1.0, 1.0])


class Oracle:
    def __init__(self, program):
        self.program = program
        self.failures = 0
        self.checks = 0
        self.worst = {}

    def run(self, *words, expect=0):
        done = subprocess.run([self.program, "-o", "json", "--quiet", *words],
                              capture_output=True, text=True, check=False)
        if done.returncode != expect:
            raise RuntimeError(f"{words[0]} {words[1]}: exit {done.returncode}: {done.stderr}")
        return json.loads(done.stdout) if expect == 0 else json.loads(
            done.stderr.strip().splitlines()[-1])

    def at_most(self, what, value, limit):
        self.checks += 1
        value = float(value)
        self.worst[what] = max(self.worst.get(what, 0.0), value)
        if not value <= limit:
            self.failures += 1
            print(f"FAILED {what}: {value:g} > {limit:g}", file=sys.stderr)

    def at_least(self, what, value, limit):
        self.checks += 1
        value = float(value)
        self.worst[what] = min(self.worst.get(what, np.inf), value)
        if not value >= limit:
            self.failures += 1
            print(f"FAILED {what}: {value:g} < {limit:g}", file=sys.stderr)


def read_series(folder):
    """Voxels as (x, y, z) float64 and the LPS affine of index (x, y, z)."""
    slices = [pydicom.dcmread(f) for f in glob.glob(folder + "/*.dcm")]
    cosines = np.array(slices[0].ImageOrientationPatient, float)
    normal = np.cross(cosines[:3], cosines[3:])
    slices.sort(key=lambda s: float(np.dot(normal, np.array(s.ImagePositionPatient, float))))
    planes = [s.pixel_array.astype(float) * float(s.get("RescaleSlope", 1)) +
              float(s.get("RescaleIntercept", 0)) for s in slices]
    first = np.array(slices[0].ImagePositionPatient, float)
    last = np.array(slices[-1].ImagePositionPatient, float)
    spacing = [float(v) for v in slices[0].PixelSpacing]
    affine = np.eye(4)
    affine[:3, 0] = cosines[:3] * spacing[1]
    affine[:3, 1] = cosines[3:] * spacing[0]
    affine[:3, 2] = (last - first) / (len(slices) - 1)
    affine[:3, 3] = first
    return np.stack(planes, axis=-1).transpose(1, 0, 2), affine, slices


def read_nifti(path):
    image = nibabel.load(path)
    sform, qform = image.get_sform(), image.get_qform()
    return (np.asarray(image.dataobj, dtype=float), RAS_TO_LPS @ sform,
            np.abs(sform - qform).max())


def contour_mask(structure_set, shape, affine):
    """Even-odd fill with scikit-image: a pixel is inside when its centre is."""
    inverse = np.linalg.inv(affine)
    mask = np.zeros(shape, bool)
    for contour in structure_set.ROIContourSequence[0].ContourSequence:
        points = np.array(contour.ContourData, float).reshape(-1, 3)
        index = (inverse @ np.c_[points, np.ones(len(points))].T)[:3].T
        z = round(index[:, 2].mean())
        mask[:, :, z] ^= polygon2mask(shape[:2], index[:, :2])
    return mask


def dice(a, b):
    return 2 * np.logical_and(a, b).sum() / (a.sum() + b.sum())


def check_patient(oracle, patient, work, deep):
    name = os.path.basename(patient)
    for modality in MODALITIES:
        folder = f"{patient}/{modality}"
        out = f"{work}/{name}-{modality}.nii.gz"
        voxels, affine, slices = read_series(folder + "/image")
        oracle.run("image", "convert", "--series", folder + "/image", "--out", out)
        ours, our_affine, form_difference = read_nifti(out)
        oracle.at_least("convert: same shape", ours.shape == voxels.shape, 1)
        scale = max(1.0, np.abs(voxels).max())
        oracle.at_most("convert: voxel, relative", np.abs(ours - voxels).max() / scale, 1e-6)
        corner = np.array([*voxels.shape, 1.0])
        oracle.at_most("convert: place of the far corner, mm",
                       np.abs(our_affine @ corner - affine @ corner).max(), 1e-3)
        oracle.at_most("convert: sform and qform", form_difference, 1e-3)

        mask_out = f"{work}/{name}-{modality}-mask.nii.gz"
        answer = oracle.run("image", "mask", "--source", folder + "/mask/RS.dcm", "--roi",
                            "GTV_Mass", "--series", folder + "/image", "--out", mask_out)
        ours, _, _ = read_nifti(mask_out)
        expected = contour_mask(pydicom.dcmread(folder + "/mask/RS.dcm"), voxels.shape, affine)
        oracle.at_least("mask: Dice with scikit-image", dice(ours > 0, expected), 0.99)
        millilitres = expected.sum() * abs(np.linalg.det(affine[:3, :3])) / 1000
        oracle.at_most("mask: volume, relative", abs(answer["volumeMl"] / millilitres - 1), 0.01)

        with open(out.replace(".nii.gz", ".json"), encoding="utf-8") as file:
            sidecar = json.load(file)
        oracle.at_least("convert: sidecar names its image",
                        sidecar["output"]["sha256"] == answer_sha256(out), 1)
        if modality == "PET":
            check_suv(oracle, folder, slices[0], voxels, f"{work}/{name}-suv", deep)
        if deep:
            check_resampling(oracle, out, f"{work}/{name}-{modality}")
    if deep:
        check_prepared_case(oracle, patient, work)
    # One grid for all: CT's at 4 mm, and PET on it.
    ct, pet = f"{work}/{name}-CT.nii.gz", f"{work}/{name}-PET.nii.gz"
    both = f"{work}/{name}-PET-on-CT.nii.gz"
    oracle.run("image", "resample", "--in", pet, "--reference", ct, "--out", both)
    expected = sitk.Resample(sitk.ReadImage(pet), sitk.ReadImage(ct), sitk.Transform(),
                             sitk.sitkLinear, 0.0)
    difference(oracle, "resample: onto a reference, relative", both, expected)


def series_digest(paths):
    lines = "".join(sorted(answer_sha256(path) + "\n" for path in paths))
    return hashlib.sha256(lines.encode()).hexdigest()


def check_prepared_case(oracle, patient, work):
    """A scout beside the slices, the record of the mask, and contours on every second slice."""
    stem = f"{work}/{os.path.basename(patient)}-case"
    slices = glob.glob(patient + "/CT/image/*.dcm")
    os.makedirs(stem)
    scout = pydicom.dcmread(slices[0])
    scout.ImageType = ["ORIGINAL", "PRIMARY", "LOCALIZER"]
    scout.ImageOrientationPatient = [1, 0, 0, 0, 0, -1]
    scout.SeriesInstanceUID = pydicom.uid.generate_uid(entropy_srcs=["scout"])
    scout.SOPInstanceUID = scout.file_meta.MediaStorageSOPInstanceUID = pydicom.uid.generate_uid(
        entropy_srcs=["scout image"])
    scout.save_as(stem + "/scout.dcm")
    answer = oracle.run("image", "prepare", "--in", patient + "/CT", stem + "/scout.dcm", "--out",
                        stem + "/out", "--roi", "GTV_Mass")
    oracle.at_least("prepare: the scout is left out", answer["leftOut"] == [
        {"modality": "CT", "sha256": series_digest([stem + "/scout.dcm"]), "objects": 1,
         "why": "localiser"}], 1)
    with open(stem + "/out/mask.json", encoding="utf-8") as file:
        inputs = {one["role"]: one["sha256"] for one in json.load(file)["inputs"]}
    oracle.at_least("prepare: the record names region and series", inputs == {
        "regions": answer_sha256(patient + "/CT/mask/RS.dcm"), "series": series_digest(slices)}, 1)

    drawn = pydicom.dcmread(patient + "/CT/mask/RS.dcm")
    region = drawn.ROIContourSequence[0]
    heights = sorted({round(float(one.ContourData[2]), 2) for one in region.ContourSequence})
    kept = set(heights[::2])
    region.ContourSequence = [one for one in region.ContourSequence
                              if round(float(one.ContourData[2]), 2) in kept]
    drawn.save_as(stem + "/sparse.dcm")
    answer = oracle.run("image", "mask", "--source", stem + "/sparse.dcm", "--roi", "GTV_Mass",
                        "--series", patient + "/CT/image", "--out", stem + "/sparse.nii")
    oracle.at_most("mask: holes, difference", abs(answer["holes"] - (len(kept) - 1)), 0)
    refused = oracle.run("image", "prepare", "--in", *slices, stem + "/sparse.dcm", "--out",
                         stem + "/refused", "--roi", "GTV_Mass", expect=1)
    oracle.at_least("prepare: a region with holes is refused", "ROI_HOLES" in json.dumps(refused),
                    1)
    # Another case takes the folder's place.
    oracle.run("image", "prepare", "--in", patient + "/CT", "--out", stem + "/out", "--force")
    oracle.at_least("prepare: nothing of an earlier case stays",
                    sorted(os.listdir(stem + "/out")) == ["CT.json", "CT.nii.gz"], 1)
    # Hounsfield units have no bias field: never in a prepared case, told where it is asked for.
    done = subprocess.run([oracle.program, "image", "prepare", "--in", patient + "/CT", "--out",
                           stem + "/n4", "--n4", "CT"], capture_output=True, text=True, check=False)
    oracle.at_least("prepare: no N4 on CT", done.returncode == 2, 1)
    done = subprocess.run([oracle.program, "image", "n4", "--in", stem + "/out/CT.nii.gz", "--out",
                           stem + "/n4.nii", "--shrink", "8", "--iterations", "1"],
                          capture_output=True, text=True, check=False)
    oracle.at_least("n4: tells that the image is CT",
                    done.returncode == 0 and "the image is CT" in done.stderr, 1)


def answer_sha256(path):
    with open(path, "rb") as file:
        return hashlib.sha256(file.read()).hexdigest()


def difference(oracle, what, path, expected, limit=2e-5, compared=True):
    ours = sitk.GetArrayFromImage(sitk.ReadImage(path)).astype(float)
    theirs = sitk.GetArrayFromImage(expected).astype(float)
    # On the border of the image a rounding decides whether a centre is still inside.
    bad = (np.abs(ours - theirs) > limit * max(1.0, np.abs(theirs).max())) & compared
    oracle.at_most(what + " (fraction of voxels that differ)", bad.mean(), 1e-3)


def lean_mass(sex, kilograms, metres):
    factor, quadratic = (1.10, 120.0) if sex == "M" else (1.07, 148.0)
    return factor * kilograms - quadratic * (kilograms / (100 * metres)) ** 2


def check_suv(oracle, folder, header, voxels, stem, deep):
    """As stored (GML), then as activity with times and dose that give the same uptake back."""
    weight, height, sex = (float(header.PatientWeight), float(header.PatientSize),
                           header.PatientSex)
    factors = {"bw": 1.0, "lbm": lean_mass(sex, weight, height) / weight,
               "bsa": weight ** 0.425 * (100 * height) ** 0.725 * 0.007184 * 10 / weight}
    for kind, factor in factors.items():
        out = f"{stem}-{kind}.nii.gz"
        oracle.run("image", "convert", "--series", folder + "/image", "--out", out, "--suv", kind)
        ours, _, _ = read_nifti(out)
        oracle.at_most(f"suv {kind}: relative", np.abs(ours - voxels * factor).max() /
                       np.abs(voxels * factor).max(), 1e-5)
    if not deep:
        return
    # (series time, acquisition time, start of injection, start with date, decay, decay seconds)
    cases = [("20060407", "150000", "150000", "140000", "", "START", 3600),
             ("20060407", "150000", "151500", "140000", "20060407140000.00", "START", 3600),
             ("20060407", "003000", "003000", "233000.5", "", "START", 3599.5),
             ("20060407", "003000", "003000", "233000", "20060406233000", "START", 3600),
             ("20060407", "150000", "150000", "140000", "", "ADMIN", 0)]
    for number, (day, series, acquisition, start, dated, decay, seconds) in enumerate(cases):
        bqml = f"{stem}-bqml{number}"
        write_activity(folder, bqml, day=day, series=series, acquisition=acquisition, start=start,
                       dated=dated, decay=decay)
        oracle.run("image", "convert", "--series", bqml, "--out", f"{bqml}.nii", "--suv", "bw")
        expected = voxels * weight * 1000 / (4e8 * 2 ** (-seconds / 6588))
        ours, _, _ = read_nifti(f"{bqml}.nii")
        oracle.at_most("suv from BQML: relative",
                       np.abs(ours - expected).max() / np.abs(expected).max(), 1e-5)
    check_long_lived(oracle, folder, voxels * weight * 1000, stem)


def write_activity(folder, out, day="20060407", series="150000", acquisition=None, start="140000",
                   dated="", decay="START", dose="400000000", half_life="6588", nuclide="C-111A1",
                   zone=None, drugs=1):
    os.makedirs(out)
    for path in glob.glob(folder + "/image/*.dcm"):
        data = pydicom.dcmread(path)
        data.Units, data.DecayCorrection = "BQML", decay
        data.SeriesDate = data.AcquisitionDate = day
        data.SeriesTime, data.AcquisitionTime = series, acquisition or series
        if zone:
            data.TimezoneOffsetFromUTC = zone
        drug = data.RadiopharmaceuticalInformationSequence[0]
        drug.RadiopharmaceuticalStartTime = start
        drug.RadionuclideTotalDose, drug.RadionuclideHalfLife = dose, half_life
        drug.RadiopharmaceuticalStartDateTime = dated
        drug.RadionuclideCodeSequence[0].CodeValue = nuclide
        data.RadiopharmaceuticalInformationSequence = [drug] * drugs
        data.save_as(f"{out}/{os.path.basename(path)}")


def check_long_lived(oracle, folder, per_becquerel, stem):
    """Zirconium-89, days before the scan; and what tells no day, dose or drug."""
    scan = datetime.datetime(2006, 4, 7, 15, 0)
    zirconium = {"half_life": "282240", "dose": "37000000", "nuclide": "C-168A4"}
    # (start with date, scan's offset from UTC, start of injection, when it was by the scan's clock)
    cases = [("20060403140000", None, "140000", datetime.datetime(2006, 4, 3, 14)),
             ("20060403140000+0200", "+0200", "140000", datetime.datetime(2006, 4, 3, 14)),
             ("20060402220000-0900", "+0200", "", datetime.datetime(2006, 4, 3, 9)),
             ("20060403120000+0000", None, "140000", datetime.datetime(2006, 4, 3, 14)),
             ("20060403", None, "140000", datetime.datetime(2006, 4, 3, 14))]
    for number, (dated, zone, start, moment) in enumerate(cases):
        out = f"{stem}-zr{number}"
        write_activity(folder, out, dated=dated, zone=zone, start=start, **zirconium)
        oracle.run("image", "convert", "--series", out, "--out", f"{out}.nii", "--suv", "bw")
        left = 3.7e7 * 2 ** (-(scan - moment).total_seconds() / 282240)
        ours, _, _ = read_nifti(f"{out}.nii")
        oracle.at_most("suv of a long-lived tracer: relative",
                       np.abs(ours - per_becquerel / left).max() /
                       np.abs(per_becquerel / left).max(), 1e-5)
    refused = [("SUV_TIME_AMBIGUOUS", zirconium),
               ("SUV_TIME_AMBIGUOUS", {"half_life": "45720", "start": "150030",
                                      "nuclide": "C-127A2"}),
               ("SUV_DOSE_AMBIGUOUS", {"drugs": 2}),
               ("SUV_DOSE_IMPLAUSIBLE", {"dose": "370000"}),
               ("SUV_HALF_LIFE_IMPLAUSIBLE", {"half_life": "1.83"}),
               # In minutes, and soon after the injection: no more than ten of them.
               ("SUV_HALF_LIFE_IMPLAUSIBLE", {"half_life": "109.77", "start": "145500"})]
    for number, (reason, values) in enumerate(refused):
        out = f"{stem}-refused{number}"
        write_activity(folder, out, **values)
        answer = oracle.run("image", "convert", "--series", out, "--out", f"{out}.nii", "--suv",
                            "bw", expect=1)
        oracle.at_least(f"suv refused: {reason}", reason in json.dumps(answer), 1)


def centred_grid(image, spacing):
    size = [int(np.ceil(n * s / t - 1e-6)) for n, s, t in
            zip(image.GetSize(), image.GetSpacing(), spacing)]
    first = [(n - 1) / 2 - (m - 1) / 2 * t / s for n, m, s, t in
             zip(image.GetSize(), size, image.GetSpacing(), spacing)]
    return size, image.TransformContinuousIndexToPhysicalPoint(first)


def no_ties(image, size, origin, spacing):
    """Voxels whose centre is not half-way between two of the image's, where a rounding decides."""
    first = image.TransformPhysicalPointToContinuousIndex(origin)
    clear = [np.abs((first[i] + np.arange(size[i]) * spacing[i] / image.GetSpacing()[i]) % 1 - 0.5)
             > 1e-6 for i in range(3)]
    return clear[2][:, None, None] & clear[1][None, :, None] & clear[0][None, None, :]


def check_resampling(oracle, path, stem):
    image = sitk.ReadImage(path)
    for name, method in (("nearest", sitk.sitkNearestNeighbor), ("linear", sitk.sitkLinear),
                         ("bspline3", sitk.sitkBSpline)):
        for spacing in ((2.0, 2.0, 2.0), (4.1, 4.1, 4.1), (0.7, 1.3, 3.3)):
            out = f"{stem}-{name}.nii"
            oracle.run("image", "resample", "--in", path, "--out", out, "--spacing",
                       ",".join(map(str, spacing)), "--interpolator", name, "--force")
            size, origin = centred_grid(image, spacing)
            expected = sitk.Resample(image, size, sitk.Transform(), method, origin, spacing,
                                     image.GetDirection(), 0.0, sitk.sitkFloat32)
            compared = no_ties(image, size, origin, spacing) if name == "nearest" else True
            oracle.at_least(f"resample {name}: share compared", np.mean(compared), 0.9)
            difference(oracle, f"resample {name}", out, expected, compared=compared)
    # A turned grid: no two axes in common.
    turn = sitk.Euler3DTransform()
    turn.SetRotation(0.2, -0.1, 0.3)
    grid = sitk.Image([40, 41, 42], sitk.sitkFloat32)
    grid.SetDirection(turn.GetMatrix())
    grid.SetSpacing([3.0, 2.5, 4.0])
    middle = image.TransformContinuousIndexToPhysicalPoint([(n - 1) / 2 for n in image.GetSize()])
    half = np.array(turn.GetMatrix()).reshape(3, 3) @ (np.array([39, 40, 41]) / 2 *
                                                       np.array([3.0, 2.5, 4.0]))
    grid.SetOrigin((np.array(middle) - half).tolist())
    sitk.WriteImage(grid, stem + "-turned.nii.gz")
    for name, method in (("linear", sitk.sitkLinear), ("bspline3", sitk.sitkBSpline)):
        oracle.run("image", "resample", "--in", path, "--reference", stem + "-turned.nii.gz",
                   "--out", stem + "-on-turned.nii", "--interpolator", name, "--force")
        difference(oracle, f"resample {name} onto a turned grid", stem + "-on-turned.nii",
                   sitk.Resample(image, sitk.ReadImage(stem + "-turned.nii.gz"),
                                 sitk.Transform(), method, 0.0, sitk.sitkFloat32), 1e-4)


def check_n4(oracle, work):
    """A known field on a body of three tissues."""
    random = np.random.default_rng(1)
    z, y, x = np.meshgrid(*(np.linspace(-1, 1, n) for n in (48, 64, 64)), indexing="ij")
    radius = np.sqrt(x ** 2 + y ** 2 + z ** 2)
    body = radius < 0.9
    tissue = np.where(radius < 0.4, 100.0, np.where(np.sin(9 * x) * np.sin(8 * y) > 0, 200, 300))
    field = np.exp(0.35 * x - 0.25 * y + 0.2 * z * z)
    image = np.where(body, tissue * field * (1 + 0.01 * random.standard_normal(x.shape)), 0)
    source = sitk.GetImageFromArray(image.astype(np.float32))
    source.SetSpacing([3.0, 3.0, 3.0])
    mask = sitk.GetImageFromArray(body.astype(np.uint8))
    mask.CopyInformation(source)
    sitk.WriteImage(source, work + "/n4.nii.gz")
    sitk.WriteImage(mask, work + "/n4-mask.nii.gz")
    for run in ("a", "b"):
        oracle.run("image", "n4", "--in", work + "/n4.nii.gz", "--mask", work + "/n4-mask.nii.gz",
                   "--out", f"{work}/n4-{run}.nii", "--bias-field", f"{work}/n4-field-{run}.nii",
                   "--shrink", "2", "--iterations", "30x30", "--convergence", "0")
    oracle.at_least("n4: same bytes twice",
                    answer_sha256(work + "/n4-a.nii") == answer_sha256(work + "/n4-b.nii"), 1)
    # On a coarser grid ITK's filter stretches the field over the whole image, which ours does not,
    # so the two are compared on the image's own grid.
    oracle.run("image", "n4", "--in", work + "/n4.nii.gz", "--mask", work + "/n4-mask.nii.gz",
               "--out", f"{work}/n4-c.nii", "--bias-field", f"{work}/n4-field-c.nii",
               "--shrink", "1", "--iterations", "10x10", "--convergence", "0")
    ours = np.log(sitk.GetArrayFromImage(sitk.ReadImage(work + "/n4-field-a.nii"))[body])
    truth = np.log(field[body])
    truth -= truth.mean()
    oracle.at_least("n4: correlation with the true field", np.corrcoef(ours, truth)[0, 1], 0.98)
    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(1)
    filter_ = sitk.N4BiasFieldCorrectionImageFilter()
    filter_.SetMaximumNumberOfIterations([10, 10])
    filter_.SetConvergenceThreshold(0)
    filter_.Execute(source, mask)
    ours = np.log(sitk.GetArrayFromImage(sitk.ReadImage(work + "/n4-field-c.nii"))[body])
    theirs = sitk.GetArrayFromImage(filter_.GetLogBiasFieldAsImage(source))[body]
    oracle.at_most("n4: log field against SimpleITK", np.abs(ours - theirs).max(), 2e-3)


def check_normalisation(oracle, path, mask_path, work):
    image, _, _ = read_nifti(path)
    inside = image[read_nifti(mask_path)[0] > 0.5]
    low, high = np.percentile(inside, [1, 99])
    expected = {"zscore": (image - inside.mean()) / inside.std(),
                "minmax": (image - inside.min()) / (inside.max() - inside.min()),
                "percentile": (np.clip(image, low, high) - low) / (high - low)}
    for method, values in expected.items():
        oracle.run("image", "normalise", "--method", method, "--in", path, "--mask", mask_path,
                   "--out", f"{work}/{method}")
        ours, _, _ = read_nifti(f"{work}/{method}/{os.path.basename(path)}")
        oracle.at_most(f"normalise {method}", np.abs(ours - values).max() /
                       max(1.0, np.abs(values).max()), 1e-5)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--oncomesh", required=True)
    parser.add_argument("--data", required=True)
    parser.add_argument("--patients", type=int, default=18)
    arguments = parser.parse_args()
    patients = sorted(glob.glob(arguments.data + "/*/*/CT/image"))[:arguments.patients]
    if not patients:
        print("no studies there; skipped", file=sys.stderr)
        return 77
    oracle = Oracle(arguments.oncomesh)
    with tempfile.TemporaryDirectory() as work:
        for number, path in enumerate(patients):
            check_patient(oracle, os.path.dirname(os.path.dirname(path)), work, number < 2)
        name = os.path.basename(os.path.dirname(os.path.dirname(patients[0])))
        check_normalisation(oracle, f"{work}/{name}-MR_T1.nii.gz",
                            f"{work}/{name}-MR_T1-mask.nii.gz", work)
        check_n4(oracle, work)
    for what, value in oracle.worst.items():
        print(f"{what}: worst {value:.3g}")
    print(f"{oracle.checks - oracle.failures} of {oracle.checks} agree, {len(patients)} patients")
    return 1 if oracle.failures else 0


if __name__ == "__main__":
    sys.exit(main())
