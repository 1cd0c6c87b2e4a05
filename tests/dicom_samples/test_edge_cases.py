"""The edge cases are what their manifest lists, the same every time, and wrong in one thing only."""

import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray
from pydicom import Dataset, dcmread
from pydicom.encaps import encapsulate
from pydicom.uid import JPEGLosslessSV1

from dicom_samples.edge_cases.jpeg_lossless import encode_jpeg_lossless
from dicom_samples.edge_cases.make import CASES, make_cases
from dicom_samples.edge_cases.study import Study
from fusionnode import errors
from tests.support.verdicts import EDGE_CASES, PAGE, PUBLIC_DATA, load_expectations, render_page

WORDS = {"fused", "left alone", "quarantined", "turned away", "unsendable"}


def test_the_manifest_lists_every_case_and_no_other() -> None:
    listed = [one.name for one in load_expectations(EDGE_CASES)]
    assert sorted(listed) == sorted(CASES)


@pytest.mark.parametrize("manifest", [EDGE_CASES, PUBLIC_DATA], ids=lambda path: path.stem)
def test_every_verdict_is_one_there_is(manifest: Path) -> None:
    for one in load_expectations(manifest):
        assert one.what, one.name
        for verdict in (one.node.verdict, one.fuse.verdict):
            refusal = re.fullmatch(r"refused (\w+)", verdict)
            assert hasattr(errors, refusal[1]) if refusal else verdict in WORDS, one.name


def test_the_page_says_what_the_manifests_say() -> None:
    """``python -m tests.support.verdicts`` writes it anew."""
    page = PAGE.read_text(encoding="utf-8")
    assert page == render_page(page, load_expectations(EDGE_CASES), load_expectations(PUBLIC_DATA))


def test_the_same_case_has_the_same_bytes_every_time(tmp_path: Path) -> None:
    names = ("enhanced-pet", "cut-in-pixels")
    for folder in ("first", "second"):
        make_cases(tmp_path / folder, names)
    first = sorted(path for path in (tmp_path / "first").rglob("*") if path.is_file())
    assert len(first) == 12 + 1 + 12 + 12
    for path in first:
        assert path.read_bytes() == (tmp_path / "second" / path.relative_to(tmp_path / "first")).read_bytes()


def test_nobody_is_named_and_every_case_is_its_own_patient(tmp_path: Path) -> None:
    make_cases(tmp_path, ["plain", "other-sex"])
    heads = [dcmread(path) for path in sorted(tmp_path.rglob("0001.dcm"))]
    assert {str(ds.PatientName) for ds in heads} == {"FUSIONNODE^EDGE"}
    assert {ds.PatientID for ds in heads} == {"FN-EDGE-PLAIN", "FN-EDGE-OTHER-SEX"}
    assert len({ds.StudyInstanceUID for ds in heads}) == 2


def test_the_plain_study_holds_head_and_uptake_in_one_place() -> None:
    """Where there is uptake there is signal: the PET was brought into the space of the MR."""
    study = Study("plain")
    signal, uptake = (np.stack([_read(ds) for ds in series]) for series in (study.mr(), study.pet()))
    assert signal.shape == uptake.shape == (12, 40, 32)
    inside = signal > 200
    assert uptake[inside].mean() > 5 * uptake[~inside].mean()
    assert {ds.FrameOfReferenceUID for ds in (*study.mr(), *study.pet())} == {study.uid("frame of reference")}


def _read(ds: Dataset) -> NDArray[np.float64]:
    pixels = np.frombuffer(ds.PixelData, dtype="<i2").reshape(ds.Rows, ds.Columns)
    return pixels * float(ds.get("RescaleSlope", 1))


@pytest.fixture(scope="module")
def slice_of_mr() -> Dataset:
    return Study("plain").mr()[0]


@settings(deadline=None, max_examples=50)
@given(pixels=arrays(np.uint16, (5, 7), elements=st.integers(0, 4095)))
def test_the_jpeg_encoder_loses_nothing(slice_of_mr: Dataset, pixels: NDArray[np.uint16]) -> None:
    ds = slice_of_mr
    ds.Rows, ds.Columns = pixels.shape
    ds.PixelData = encapsulate([encode_jpeg_lossless(pixels, 12)])
    ds["PixelData"].VR = "OB"
    ds.file_meta.TransferSyntaxUID = JPEGLosslessSV1
    assert (ds.pixel_array == pixels).all()
