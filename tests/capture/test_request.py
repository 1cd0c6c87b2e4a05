from dataclasses import replace
from zoneinfo import ZoneInfo

import numpy as np
import pytest

from fusionnode.domain.images import FusedStack
from fusionnode.domain.volume import SourceFrame
from fusionnode.errors import CaptureInvalid
from tests.support.captures import make_request, make_scene


def test_a_source_without_its_header_is_refused_by_name() -> None:
    request = make_request()
    with pytest.raises(CaptureInvalid) as refusal:
        replace(request, moving_headers=request.moving_headers[1:])
    assert refusal.value.facts["sop_instance_uid"] == request.moving_headers[0].SOPInstanceUID


def test_pictures_of_another_shape_are_a_defect() -> None:
    request = make_request()
    with pytest.raises(ValueError, match="pictures must be"):
        replace(request, fused=FusedStack(request.fused.rgb[1:], "laplacian@1.0"))
    with pytest.raises(ValueError, match="pictures must be"):
        replace(request, fused=FusedStack(request.fused.rgb.astype(np.float32), "laplacian@1.0"))  # type: ignore[arg-type]


def test_every_slice_needs_its_source() -> None:
    prepared = make_request().prepared
    with pytest.raises(ValueError, match="as many sources"):
        make_request(fixed_sources=prepared.fixed_sources[:-1])


def test_the_header_of_the_first_slice_speaks_for_the_patient_in_whatever_order_they_came() -> None:
    request = make_request()
    turned = replace(request, fixed_headers=list(reversed(request.fixed_headers)))
    assert turned.head.SOPInstanceUID == request.prepared.fixed_sources[0].sop_instance_uid


@pytest.mark.parametrize(
    ("fixed", "moving", "differ"), [("1.2", "1.2", False), ("1.2", "1.3", True), ("1.2", "", True), ("", "", True)]
)
def test_unnamed_frames_of_reference_are_never_the_same(fixed: str, moving: str, differ: bool) -> None:
    request = make_request(frame_of_reference_uid=fixed, moving_frame_of_reference_uid=moving)
    assert request.frames_differ is differ


def test_a_pair_without_functional_sources_has_no_functional_header() -> None:
    assert make_request(moving_sources=()).moving_head is None


def test_patient_data_is_not_in_what_a_log_would_show() -> None:
    assert "Synthetic" not in repr(make_request())


def test_header_of_an_unknown_instance_is_refused() -> None:
    with pytest.raises(CaptureInvalid):
        make_request(make_scene()).header_of(SourceFrame("1.2", "1.2.3.4"))


def test_the_moment_is_in_the_mri_s_zone_or_else_in_that_of_the_site() -> None:
    request = replace(make_request(), zone=ZoneInfo("America/New_York"))
    assert request.moment.isoformat() == "2024-03-06T18:30:15.250000-05:00"
    for ds in request.fixed_headers:
        ds.TimezoneOffsetFromUTC = "+0100"
    assert request.moment.isoformat() == "2024-03-07T00:30:15.250000+01:00"
