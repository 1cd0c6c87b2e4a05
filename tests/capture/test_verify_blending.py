from collections.abc import Callable

import pytest
from pydicom import Dataset

from fusionnode.capture.blending import build_blending
from fusionnode.capture.build import build_captures
from fusionnode.capture.registration_object import build_registration
from fusionnode.capture.request import CaptureRequest
from fusionnode.capture.verify import verify_captures
from fusionnode.errors import CaptureInvalid
from tests.support.captures import make_request, make_scene, with_output


def ask(modality: str = "PT", *, shared: bool = False) -> CaptureRequest:
    return with_output(make_request(make_scene(modality, shared=shared), moving_scale=2e-4), blending=True)


def build(request: CaptureRequest, change: Callable[[Dataset], object] | None = None) -> list[Dataset]:
    blending, registration = build_blending(request), build_registration(request)
    if change is not None:
        change(blending)
    return [*build_captures(request), *([registration] if registration else []), blending]


def refuse(objects: list[Dataset], request: CaptureRequest) -> str:
    with pytest.raises(CaptureInvalid) as refusal:
        verify_captures(objects, request)
    return str(refusal.value.facts["attribute"])


@pytest.mark.parametrize("modality", ["PT", "NM"])
@pytest.mark.parametrize("shared", [True, False])
def test_what_was_built_may_leave(modality: str, shared: bool) -> None:
    request = ask(modality, shared=shared)
    verify_captures(build(request), request)


def widen(ds: Dataset) -> None:
    ds.BlendingSequence[1].SoftcopyVOILUTSequence[3].WindowWidth = "1"


def exchange(ds: Dataset) -> None:
    ds.BlendingSequence = list(reversed(list(ds.BlendingSequence)))


def forget_an_image(ds: Dataset) -> None:
    del ds.BlendingSequence[0].ReferencedSeriesSequence[0].ReferencedImageSequence[2]


def forget_a_window(ds: Dataset) -> None:
    del ds.BlendingSequence[1].SoftcopyVOILUTSequence[0]


def forget_the_registration(ds: Dataset) -> None:
    del ds.ReferencedSpatialRegistrationSequence


def repaint(ds: Dataset) -> None:
    ds.RedPaletteColorLookupTableData = ds.BluePaletteColorLookupTableData


def rescale(ds: Dataset) -> None:
    ds.BlendingSequence[0].RescaleSlope = "2"


def cover(ds: Dataset) -> None:
    ds.RelativeOpacity = 0.51


@pytest.mark.parametrize(
    ("change", "attribute"),
    [
        (widen, "SoftcopyVOILUTSequence"),
        (exchange, "BlendingSequence"),
        (forget_an_image, "ReferencedImageSequence"),
        (forget_a_window, "SoftcopyVOILUTSequence"),
        (forget_the_registration, "ReferencedSpatialRegistrationSequence"),
        (repaint, "RedPaletteColorLookupTableData"),
        (rescale, "SoftcopyVOILUTSequence"),
        (cover, "RelativeOpacity"),
    ],
)
def test_what_a_viewer_would_show_otherwise_is_noticed(change: Callable[[Dataset], object], attribute: str) -> None:
    request = ask()
    assert refuse(build(request, change), request) == attribute


def test_a_missing_or_unneeded_presentation_state_is_noticed() -> None:
    request = ask()
    objects = build(request)
    assert refuse(objects[:-1], request) == "number of presentation states"
    assert refuse(objects, with_output(request, blending=False)) == "number of presentation states"
