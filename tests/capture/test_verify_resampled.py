from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from pydicom import Dataset

from fusionnode.capture.build import build_captures
from fusionnode.capture.encode import compress_picture
from fusionnode.capture.registration_object import build_registration
from fusionnode.capture.request import CaptureRequest
from fusionnode.capture.resampled import build_resampled
from fusionnode.capture.verify import verify_captures
from fusionnode.errors import CaptureInvalid
from fusionnode.pipeline.schema import Compression
from fusionnode.volumes.suv import measure_suv
from tests.support.captures import make_request, make_scene, with_output, with_uptake
from tests.support.datasets import Layout
from tests.support.enhanced import make_enhanced_pet, suffix_moments

Change = Callable[[Dataset], None]


def ask(modality: str = "PT", compression: Compression = Compression.NONE) -> CaptureRequest:
    scene = make_scene(modality, fixed=Layout(3, 34, 33))
    return with_output(with_uptake(make_request(scene), low=-1.0), compression=compression)


def build(request: CaptureRequest, change: Change | None = None) -> list[Dataset]:
    registration, resampled = build_registration(request), build_resampled(request)
    assert registration is not None
    if change is not None:
        change(resampled[-1])
    objects = [*build_captures(request), registration, *resampled]
    for ds in objects:
        compress_picture(ds, request.pipeline.output.compression)
    return objects


@pytest.mark.parametrize("compression", list(Compression))
@pytest.mark.parametrize("modality", ["PT", "NM"])
def test_what_was_built_may_leave_in_every_syntax(modality: str, compression: Compression) -> None:
    request = ask(modality, compression)
    verify_captures(build(request), request)


@pytest.mark.parametrize("modality", ["PT", "NM"])
def test_values_other_than_the_pairs_are_noticed(modality: str) -> None:
    request = ask(modality)
    assert request.prepared.uptake is not None
    uptake = request.prepared.uptake.copy()
    uptake[2, 7, 5] += 0.01
    other = replace(request, prepared=replace(request.prepared, uptake=uptake))
    with pytest.raises(CaptureInvalid, match="PixelData"):
        verify_captures(build(request), other)


def test_values_in_another_unit_are_noticed() -> None:
    request = ask()
    other = replace(request, prepared=replace(request.prepared, moving_scale=1.0))
    with pytest.raises(CaptureInvalid, match="Units"):
        verify_captures(build(request), other)


def set_value(keyword: str, value: object) -> Change:
    return lambda ds: setattr(ds, keyword, value)


@pytest.mark.parametrize(
    ("keyword", "value"),
    [
        ("Units", "GML"),
        ("PatientWeight", "71"),
        ("DecayCorrection", "ADMIN"),
        ("RescaleIntercept", "1"),
        ("SpacingBetweenSlices", "3.1"),
        ("ImagePositionPatient", ["0", "0", "0"]),
        ("SeriesDescription", "PET"),
        ("FrameOfReferenceUID", "1.2.3"),
    ],
)
def test_a_wrong_value_is_noticed(keyword: str, value: object) -> None:
    request = ask()
    with pytest.raises(CaptureInvalid) as refusal:
        verify_captures(build(request, set_value(keyword, value)), request)
    assert refusal.value.facts["attribute"] == keyword


def test_another_dose_is_noticed() -> None:
    request = ask()

    def change(ds: Dataset) -> None:
        ds.RadiopharmaceuticalInformationSequence[0].RadionuclideTotalDose = "1e8"

    with pytest.raises(CaptureInvalid, match="RadionuclideTotalDose"):
        verify_captures(build(request, change), request)


def test_frames_stacked_the_other_way_are_noticed() -> None:
    request = ask("NM")
    with pytest.raises(CaptureInvalid, match="ImagePositionPatient"):
        verify_captures(build(request, set_value("SpacingBetweenSlices", "-3.0")), request)


def test_a_resampled_series_that_nobody_asked_for_or_that_is_missing_is_noticed() -> None:
    request = ask()
    objects = build(request)
    for wrong, under in ((objects, with_output(request, resampled=False)), (objects[:-1], request)):
        with pytest.raises(CaptureInvalid) as refusal:
            verify_captures(wrong, under)
        assert refusal.value.facts["attribute"] == "number of resampled images"


def test_the_uptake_must_fit_the_grid() -> None:
    with pytest.raises(ValueError, match="uptake"):
        make_request(uptake=np.zeros((1, 2, 3), np.float32))


@pytest.mark.parametrize("offset", ["", "+0300"])
def test_an_enhanced_object_whose_moments_state_their_own_offset_may_leave(offset: str) -> None:
    scene = make_scene(fixed=Layout(3, 34, 33))
    for ds in scene.fixed:
        ds.TimezoneOffsetFromUTC = "+0100"
    enhanced = make_enhanced_pet(scene.moving)
    suffix_moments(enhanced, "+0300")
    enhanced.TimezoneOffsetFromUTC = offset
    request = with_uptake(make_request(replace(scene, moving=[enhanced])))
    objects = build(request)
    verify_captures(objects, request)
    assert (objects[-1].TimezoneOffsetFromUTC, objects[-1].SeriesTime) == ("+0100", "080200.00")
    assert measure_suv(objects[-3:]).factor == pytest.approx(request.prepared.moving_scale, rel=1e-12)


@pytest.mark.parametrize("offset", ["+0200", "+0300"])
def test_a_clock_that_nobody_named_is_noticed(offset: str) -> None:
    request = ask()
    with pytest.raises(CaptureInvalid, match="TimezoneOffsetFromUTC"):
        verify_captures(build(request, set_value("TimezoneOffsetFromUTC", offset)), request)
