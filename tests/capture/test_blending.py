import subprocess
from dataclasses import replace
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import ImageCms
from pydicom import Dataset
from pydicom.pixels.processing import apply_color_lut
from pydicom.uid import BlendingSoftcopyPresentationStateStorage

from fusionnode.capture.blending import build_blending, make_srgb_profile, read_rescale
from fusionnode.capture.verify_blending import verify_blending
from fusionnode.errors import CaptureInvalid
from fusionnode.pipeline.schema import Palette
from tests.support.captures import (
    Scene,
    encode,
    make_motion,
    make_request,
    make_scene,
    make_scene_with,
    read_headers,
    with_output,
)
from tests.support.enhanced import make_enhanced_pet
from tests.support.tools import require_tool, validate_object


def show(stored: float, layer: Dataset, uid: str, frame: int | None = None) -> float:
    """What a viewer shows of a stored value, 0 to 1: Modality LUT, then the window of the image, as PS3.4 N.2 says."""
    value = stored * float(layer.RescaleSlope) + float(layer.RescaleIntercept)
    for window in layer.SoftcopyVOILUTSequence:
        images = window.get("ReferencedImageSequence")
        if images is None or any(names(image, uid, frame) for image in images):
            low = float(window.WindowCenter) - float(window.WindowWidth) / 2
            return (value - low) / float(window.WindowWidth)
    raise AssertionError("no window for the image")


def names(image: Dataset, uid: str, frame: int | None) -> bool:
    frames = image.get("ReferencedFrameNumber")
    return bool(image.ReferencedSOPInstanceUID == uid and (frame is None or frame in np.atleast_1d(frames)))


def test_it_names_both_series_the_registration_and_the_palette() -> None:
    request = make_request()
    ds = build_blending(request)
    assert (ds.SOPClassUID, ds.Modality) == (BlendingSoftcopyPresentationStateStorage, "PR")
    under, over = ds.BlendingSequence
    assert (under.BlendingPosition, over.BlendingPosition) == ("UNDERLYING", "SUPERIMPOSED")
    for layer, headers in ((under, request.fixed_headers), (over, request.moving_headers)):
        [series] = layer.ReferencedSeriesSequence
        assert series.SeriesInstanceUID == headers[0].SeriesInstanceUID
        named = {image.ReferencedSOPInstanceUID for image in series.ReferencedImageSequence}
        assert named == {header.SOPInstanceUID for header in headers}
    [study] = ds.ReferencedSpatialRegistrationSequence
    [registration] = study.ReferencedSeriesSequence[0].ReferencedSOPSequence
    assert registration.ReferencedSOPInstanceUID == request.identity.registration_uid
    assert ds.PaletteColorLookupTableUID == "1.2.840.10008.1.5.3"
    assert ds.RelativeOpacity == 0.5
    assert build_blending(with_output(make_request(), opacity=0.3)).RelativeOpacity == 0.3


def test_a_shared_frame_of_reference_needs_no_registration() -> None:
    assert "ReferencedSpatialRegistrationSequence" not in build_blending(make_request(make_scene(shared=True)))


def test_the_window_is_exact_on_every_slice_though_the_slopes_differ() -> None:
    request = make_request(moving_scale=2e-4)
    over = build_blending(request).BlendingSequence[1]
    slopes = {float(header.RescaleSlope) for header in request.moving_headers}
    assert len(slopes) > 4
    for header in request.moving_headers:
        for share in (0.0, 0.3, 1.0):
            stored = share * 8.25 / 2e-4 / float(header.RescaleSlope)
            assert show(stored, over, header.SOPInstanceUID) == pytest.approx(share, abs=1e-6)


def test_the_window_of_an_enhanced_pet_is_in_the_unit_of_its_real_world_values() -> None:
    """Where its Rescale Type names no unit: then its values were read by the mapping, whatever the slope beside it."""
    scene = make_scene()
    enhanced = make_enhanced_pet(scene.moving)
    for groups in enhanced.PerFrameFunctionalGroupsSequence:
        groups.PixelValueTransformationSequence[0].RescaleSlope = "1"
    request = with_output(make_request(replace(scene, moving=[enhanced]), moving_scale=2e-4), blending=True)
    ds = build_blending(request)
    over = ds.BlendingSequence[1]
    for number, groups in enumerate(enhanced.PerFrameFunctionalGroupsSequence, start=1):
        stored = 0.3 * 8.25 / 2e-4 / groups.RealWorldValueMappingSequence[0].RealWorldValueSlope
        assert show(stored, over, enhanced.SOPInstanceUID, number) == pytest.approx(0.3, abs=1e-6)
    verify_blending(ds, request)
    for groups in enhanced.PerFrameFunctionalGroupsSequence:
        groups.PixelValueTransformationSequence[0].RescaleType = "BQML"
    with pytest.raises(CaptureInvalid, match="SoftcopyVOILUTSequence"):
        verify_blending(ds, request)


def test_one_slope_for_all_is_a_modality_lut_with_one_window() -> None:
    scene = make_scene_with("fixed", RescaleSlope="0.5", RescaleIntercept="-7")
    under = build_blending(make_request(scene)).BlendingSequence[0]
    assert (under.RescaleSlope, under.RescaleIntercept) == (0.5, -7)
    assert len(under.SoftcopyVOILUTSequence) == 1
    assert show((1480.0 + 7) / 0.5, under, "any") == pytest.approx(1)


@pytest.mark.parametrize("palette", list(Palette))
def test_the_palette_is_that_of_the_pipeline(palette: Palette) -> None:
    request = make_request()
    fusion = request.pipeline.fusion.model_copy(update={"palette": palette})
    pipeline = request.pipeline.model_copy(update={"fusion": fusion})
    ds = build_blending(make_request(pipeline=pipeline))
    ramp = np.arange(256, dtype=np.uint8)
    uid = ds.get("PaletteColorLookupTableUID")
    expected = np.repeat(ramp[:, None], 3, axis=1) if palette is Palette.GREY else apply_color_lut(ramp, palette=uid)
    np.testing.assert_array_equal(apply_color_lut(ramp, ds), expected.astype(np.uint16) * 257)


def test_the_slope_of_an_enhanced_frame_is_its_own_before_the_shared_one() -> None:
    def make_groups(slope: str) -> Dataset:
        transformation, groups = Dataset(), Dataset()
        transformation.RescaleSlope, transformation.RescaleIntercept = slope, "1"
        groups.PixelValueTransformationSequence = [transformation]
        return groups

    header = Dataset()
    assert read_rescale(header, None) == (1.0, 0.0)
    header.SharedFunctionalGroupsSequence = [make_groups("3")]
    assert read_rescale(header, 2) == (3.0, 1.0)
    header.PerFrameFunctionalGroupsSequence = [make_groups("4"), make_groups("5")]
    assert read_rescale(header, 2) == (5.0, 1.0)


def test_the_profile_is_srgb_and_never_dated_by_the_clock() -> None:
    profile = make_srgb_profile()
    assert profile == make_srgb_profile()
    assert profile[24:30] == bytes([7, 208, 0, 1, 0, 1])
    opened = ImageCms.getOpenProfile(BytesIO(profile))
    assert "sRGB" in ImageCms.getProfileDescription(opened)


def test_the_same_request_gives_the_same_bytes() -> None:
    assert encode(build_blending(make_request())) == encode(build_blending(make_request()))


@pytest.mark.system
@pytest.mark.parametrize("modality", ["PT", "NM"])
@pytest.mark.parametrize("shared", [True, False])
def test_a_validator_finds_no_error_and_dcmtk_reads_it(modality: str, shared: bool, tmp_path: Path) -> None:
    ds = build_blending(make_request(make_scene(modality, shared=shared)))
    assert [line for line in validate_object(ds, tmp_path) if line.startswith("Error")] == []
    path = tmp_path / f"{ds.SOPInstanceUID}.dcm"
    dump = subprocess.run([require_tool("dcmdump"), str(path)], check=True, capture_output=True, text=True).stdout
    assert "=BlendingSoftcopyPresentationStateStorage" in dump


@pytest.mark.system
@pytest.mark.real_data
@pytest.mark.parametrize(("case", "functional"), [("pet_axial", "pt"), ("spect_a", "nm")])
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_a_validator_finds_no_error_on_real_sources(
    case: str, functional: str, real_data: Path, tmp_path: Path
) -> None:
    folder = real_data / "aanlib" / case
    scene = Scene(read_headers(folder / "mr"), read_headers(folder / functional), make_motion())
    spoken = validate_object(build_blending(make_request(scene)), tmp_path)
    assert [line for line in spoken if line.startswith("Error")] == []
