from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from pydicom import Dataset

from fusionnode.capture.build import build_captures
from fusionnode.capture.encode import compress_picture
from fusionnode.capture.request import CaptureRequest
from fusionnode.capture.sheet_object import build_sheet
from fusionnode.capture.verify import verify_captures
from fusionnode.errors import CaptureInvalid
from fusionnode.pipeline.schema import Compression, Sheet
from tests.support.captures import make_request, make_scene, with_output

PAGE = np.tile(np.arange(0, 250, 5, dtype=np.uint8)[:, None, None], (1, 40, 3))
KINDS = [Sheet.PDF, Sheet.IMAGE]


def ask(kind: Sheet, compression: Compression = Compression.NONE) -> CaptureRequest:
    return with_output(make_request(make_scene(shared=True), page=PAGE), sheet=kind, compression=compression)


def build(request: CaptureRequest, change: Callable[[Dataset], object] | None = None) -> list[Dataset]:
    sheet = build_sheet(request)
    if change is not None:
        change(sheet)
    objects = [*build_captures(request), sheet]
    for ds in objects:
        compress_picture(ds, request.pipeline.output.compression)
    return objects


def refuse(objects: list[Dataset], request: CaptureRequest) -> str:
    with pytest.raises(CaptureInvalid) as refusal:
        verify_captures(objects, request)
    return str(refusal.value.facts["attribute"])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("compression", list(Compression))
def test_what_was_built_may_leave(kind: Sheet, compression: Compression) -> None:
    request = ask(kind, compression)
    verify_captures(build(request), request)


@pytest.mark.parametrize("kind", KINDS)
def test_another_page_is_noticed(kind: Sheet) -> None:
    request = ask(kind)
    attribute = refuse(build(request), replace(request, page=PAGE[::-1]))
    assert attribute == ("EncapsulatedDocument" if kind is Sheet.PDF else "PixelData")


def test_a_single_wrong_pixel_of_a_picture_is_noticed() -> None:
    request = ask(Sheet.IMAGE)
    page = PAGE.copy()
    page[3, 4, 1] ^= 1
    assert refuse(build(request), replace(request, page=page)) == "PixelData"


def test_half_a_document_is_noticed() -> None:
    request = ask(Sheet.PDF)

    def halve(ds: Dataset) -> None:
        ds.EncapsulatedDocument = ds.EncapsulatedDocument[: len(ds.EncapsulatedDocument) // 4 * 2]
        ds.EncapsulatedDocumentLength = len(ds.EncapsulatedDocument)

    assert refuse(build(request, halve), request) == "EncapsulatedDocument"


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("keyword", "value"), [("SeriesDescription", "PET"), ("Modality", "PT")])
def test_a_wrong_value_is_noticed(kind: Sheet, keyword: str, value: str) -> None:
    request = ask(kind)
    assert refuse(build(request, lambda ds: setattr(ds, keyword, value)), request) == keyword


@pytest.mark.parametrize("kind", KINDS)
def test_a_missing_or_unneeded_sheet_is_noticed(kind: Sheet) -> None:
    request = ask(kind)
    objects = build(request)
    assert refuse(objects[:-1], request) == "number of quality sheets"
    assert refuse(objects, with_output(request, sheet=Sheet.NONE)) == "number of quality sheets"
