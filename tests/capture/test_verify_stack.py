from collections.abc import Callable
from dataclasses import replace

import pytest
from pydicom import Dataset

from fusionnode.capture.build import build_captures
from fusionnode.capture.encode import compress_picture
from fusionnode.capture.multiframe import build_stack
from fusionnode.capture.registration_object import build_registration
from fusionnode.capture.request import CaptureRequest
from fusionnode.capture.verify import verify_captures
from fusionnode.domain.images import FusedStack
from fusionnode.errors import CaptureInvalid
from fusionnode.pipeline.schema import Compression
from tests.support.captures import make_request, make_scene, reformat, with_output
from tests.support.datasets import Layout


def ask(compression: Compression = Compression.NONE) -> CaptureRequest:
    request = make_request(make_scene(fixed=Layout(3, 34, 33)))
    return with_output(request, multiframe=True, compression=compression)


def build(request: CaptureRequest, change: Callable[[Dataset], object] | None = None) -> list[Dataset]:
    stack, registration = build_stack(request), build_registration(request)
    assert registration is not None
    if change is not None:
        change(stack)
    compress_picture(stack, request.pipeline.output.compression)
    return [stack, registration]


def refuse(objects: list[Dataset], request: CaptureRequest) -> str:
    with pytest.raises(CaptureInvalid) as refusal:
        verify_captures(objects, request)
    return str(refusal.value.facts["attribute"])


@pytest.mark.parametrize("compression", list(Compression))
def test_what_was_built_may_leave_in_every_syntax(compression: Compression) -> None:
    request = ask(compression)
    verify_captures(build(request), request)


def test_a_reformat_may_leave_too_in_one_object_or_in_many() -> None:
    many = reformat(make_request())
    registration = build_registration(many)
    assert registration is not None
    verify_captures([*build_captures(many), registration], many)
    one = with_output(many, multiframe=True)
    verify_captures(build(one), one)


def test_another_picture_in_one_frame_is_noticed() -> None:
    request = ask()
    rgb = request.fused.rgb.copy()
    rgb[2, 8, 6, 2] ^= 1
    assert refuse(build(request), replace(request, fused=FusedStack(rgb, request.fused.model))) == "PixelData"


def exchange_frames(ds: Dataset) -> None:
    ds.PerFrameFunctionalGroupsSequence = list(reversed(list(ds.PerFrameFunctionalGroupsSequence)))


def forget_a_frame(ds: Dataset) -> None:
    del ds.PerFrameFunctionalGroupsSequence[1]


def count_twice(ds: Dataset) -> None:
    ds.PerFrameFunctionalGroupsSequence[1].FrameContentSequence[0].InStackPositionNumber = 1


def mistake_a_source(ds: Dataset) -> None:
    frames = ds.PerFrameFunctionalGroupsSequence
    frames[1].DerivationImageSequence = frames[2].DerivationImageSequence


def widen(ds: Dataset) -> None:
    ds.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0].SpacingBetweenSlices = "3.1"


@pytest.mark.parametrize(
    ("change", "attribute"),
    [
        (exchange_frames, "ImagePositionPatient"),
        (forget_a_frame, "PerFrameFunctionalGroupsSequence"),
        (count_twice, "InStackPositionNumber"),
        (mistake_a_source, "SourceImageSequence"),
        (widen, "SpacingBetweenSlices"),
    ],
)
def test_what_is_wrong_with_a_frame_is_noticed(change: Callable[[Dataset], object], attribute: str) -> None:
    request = ask()
    assert refuse(build(request, change), request) == attribute


def test_single_images_where_one_object_was_asked_for_are_noticed() -> None:
    request = ask()
    assert refuse(build(request), with_output(request, multiframe=False)) == "number of slices"
    registration = build_registration(request)
    assert registration is not None
    assert refuse([*build_captures(request), registration], request) == "number of slices"
