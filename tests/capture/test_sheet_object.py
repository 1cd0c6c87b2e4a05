import subprocess
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from pydicom import Dataset, dcmread
from pydicom.uid import EncapsulatedPDFStorage, SecondaryCaptureImageStorage

from fusionnode.capture.request import CaptureRequest
from fusionnode.capture.sheet_object import build_sheet
from fusionnode.pipeline.schema import Sheet
from tests.support.captures import Scene, encode, make_request, make_scene, make_scene_with, with_output
from tests.support.tools import require_tool, validate_object

PAGE = np.random.default_rng(0).integers(0, 256, (60, 40, 3), dtype=np.uint8)
KINDS = [Sheet.PDF, Sheet.IMAGE]


def ask(kind: Sheet, scene: Scene | None = None) -> CaptureRequest:
    return with_output(make_request(scene, page=PAGE), sheet=kind)


def list_references_of(ds: Dataset) -> set[str]:
    items = [*ds.get("SourceImageSequence", []), *ds.get("SourceInstanceSequence", [])]
    return {item.ReferencedSOPInstanceUID for item in items}


def test_a_pdf_is_a_document_and_a_picture_a_secondary_capture() -> None:
    pdf, picture = (build_sheet(ask(kind)) for kind in KINDS)
    assert (pdf.SOPClassUID, pdf.Modality) == (EncapsulatedPDFStorage, "DOC")
    assert pdf.MIMETypeOfEncapsulatedDocument == "application/pdf"
    assert bytes(pdf.EncapsulatedDocument).startswith(b"%PDF-")
    assert len(pdf.EncapsulatedDocument) % 2 == 0
    assert 0 <= len(pdf.EncapsulatedDocument) - pdf.EncapsulatedDocumentLength <= 1
    assert (picture.SOPClassUID, picture.Modality) == (SecondaryCaptureImageStorage, "OT")
    np.testing.assert_array_equal(dcmread(BytesIO(encode(picture))).pixel_array, PAGE)


@pytest.mark.parametrize("kind", KINDS)
def test_it_lies_in_the_study_of_the_mri_in_a_series_of_its_own_and_in_no_space(kind: Sheet) -> None:
    request = ask(kind)
    ds = build_sheet(request)
    assert ds.StudyInstanceUID == request.head.StudyInstanceUID
    assert (ds.SeriesInstanceUID, ds.SeriesNumber) == (request.identity.sheet_series_uid, 9004)
    assert "FrameOfReferenceUID" not in ds
    assert "ImagePositionPatient" not in ds
    assert "not for primary diagnosis" in ds.SeriesDescription
    assert len(ds.ContributingEquipmentSequence) == 3


@pytest.mark.parametrize("kind", KINDS)
def test_it_names_every_image_of_both_series_and_the_registration(kind: Sheet) -> None:
    request = ask(kind)
    sources = (*request.prepared.fixed_sources, *request.prepared.moving_sources)
    expected = {source.sop_instance_uid for source in sources} | {str(request.identity.registration_uid)}
    assert list_references_of(build_sheet(request)) == expected
    shared = ask(kind, make_scene(shared=True))
    assert str(shared.identity.registration_uid) not in list_references_of(build_sheet(shared))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("burned_in", "expected"), [("", "NO"), ("YES", "YES")])
def test_only_what_a_source_has_burned_in_can_name_the_patient(kind: Sheet, burned_in: str, expected: str) -> None:
    assert (
        build_sheet(ask(kind, make_scene_with("moving", BurnedInAnnotation=burned_in))).BurnedInAnnotation == expected
    )


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_request_gives_the_same_bytes(kind: Sheet) -> None:
    assert encode(build_sheet(ask(kind))) == encode(build_sheet(ask(kind)))


def test_a_sheet_without_a_page_is_a_defect() -> None:
    with pytest.raises(ValueError, match="page"):
        build_sheet(with_output(make_request(), sheet=Sheet.PDF))


@pytest.mark.system
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("modality", ["PT", "NM"])
def test_a_validator_finds_no_error_and_dcmtk_reads_it(kind: Sheet, modality: str, tmp_path: Path) -> None:
    ds = build_sheet(ask(kind, make_scene(modality)))
    assert [line for line in validate_object(ds, tmp_path) if line.startswith("Error")] == []
    path = tmp_path / f"{ds.SOPInstanceUID}.dcm"
    tool = "dcm2pdf" if kind is Sheet.PDF else "dcm2pnm"
    subprocess.run([require_tool(tool), str(path), str(tmp_path / "out")], check=True, capture_output=True)
    assert (tmp_path / "out").read_bytes().startswith(b"%PDF-" if kind is Sheet.PDF else b"P6")
