import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from pydicom import Dataset, dcmread, dcmwrite
from pydicom.pixels.utils import pixel_array
from pydicom.uid import (
    UID,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLSLossless,
    RLELossless,
)

from fusionnode.capture.build import build_captures
from fusionnode.capture.encode import choose_syntax, compress_picture
from fusionnode.capture.multiframe import build_stack
from fusionnode.capture.registration_object import build_registration
from fusionnode.capture.request import CaptureRequest
from fusionnode.capture.verify import verify_captures
from fusionnode.domain.images import FusedStack
from fusionnode.errors import CaptureInvalid
from fusionnode.pipeline.schema import Compression, Palette
from tests.support.captures import make_request, make_scene, with_output
from tests.support.datasets import Layout
from tests.support.known_uptake import make_known_picture, require_known
from tests.support.tools import require_tool, validate_object

SYNTAXES = {
    Compression.RLE: RLELossless,
    Compression.JPEG2000: JPEG2000Lossless,
    Compression.JPEGLS: JPEGLSLossless,
}
# Other programs than the writers: whoever checks what was written must not be its author.
READERS = {Compression.RLE: "pydicom", Compression.JPEG2000: "gdcm", Compression.JPEGLS: "gdcm"}
ALL = tuple(SYNTAXES)


def make_pictures(compression: Compression, rgb: NDArray[np.uint8] | None = None) -> CaptureRequest:
    layout = Layout(3, 40, 33) if rgb is None else Layout(*rgb.shape[:3])
    request = with_output(make_request(make_scene(fixed=layout)), compression=compression)
    return request if rgb is None else replace(request, fused=FusedStack(rgb, "laplacian@1.0"))


def build(request: CaptureRequest) -> list[Dataset]:
    registration = build_registration(request)
    objects = [*build_captures(request), *([registration] if registration else [])]
    for ds in objects:
        compress_picture(ds, request.pipeline.output.compression)
    return objects


def read_with(ds: Dataset, folder: Path, decoder: str) -> NDArray[np.uint8]:
    path = folder / f"{ds.SOPInstanceUID}.dcm"
    dcmwrite(path, ds, enforce_file_format=True)
    return pixel_array(dcmread(path), decoding_plugin=decoder)


@pytest.mark.parametrize("compression", ALL)
def test_every_syntax_gives_the_pictures_back_bit_for_bit_also_by_another_decoder(
    compression: Compression, tmp_path: Path
) -> None:
    request = make_pictures(compression)
    for index, ds in enumerate(build(request)[:-1]):
        assert ds.file_meta.TransferSyntaxUID == SYNTAXES[compression]
        assert ds.PhotometricInterpretation == "RGB"
        np.testing.assert_array_equal(read_with(ds, tmp_path, READERS[compression]), request.fused.rgb[index])


@pytest.mark.parametrize("compression", ALL)
def test_what_was_compressed_may_leave_under_the_same_uids_and_without_loss(compression: Compression) -> None:
    request = make_pictures(compression)
    objects = build(request)
    verify_captures(objects, request)
    plain = build_captures(with_output(request, compression=Compression.NONE))
    assert [ds.SOPInstanceUID for ds in objects[:-1]] == [ds.SOPInstanceUID for ds in plain]
    assert {ds.LossyImageCompression for ds in objects[:-1]} == {"00"}


@pytest.mark.parametrize("compression", ALL)
def test_the_same_pictures_give_the_same_bytes(compression: Compression) -> None:
    one, other = (build(make_pictures(compression)) for _ in range(2))
    assert [ds.get("PixelData") for ds in one] == [ds.get("PixelData") for ds in other]


@pytest.mark.parametrize("compression", ALL)
def test_an_altered_picture_is_noticed_in_every_syntax(compression: Compression) -> None:
    request = make_pictures(compression)
    rgb = request.fused.rgb.copy()
    rgb[1, 5, 6, 2] ^= 1
    with pytest.raises(CaptureInvalid, match="PixelData"):
        verify_captures(build(request), replace(request, fused=FusedStack(rgb, request.fused.model)))


@pytest.mark.parametrize("compression", ALL)
def test_pictures_in_another_syntax_than_asked_for_are_noticed(compression: Compression) -> None:
    request = make_pictures(compression)
    with pytest.raises(CaptureInvalid, match="TransferSyntaxUID"):
        verify_captures(build(with_output(request, compression=Compression.NONE)), request)


@pytest.mark.parametrize("multiframe", [False, True])
@pytest.mark.parametrize("syntax", [ImplicitVRLittleEndian, ExplicitVRLittleEndian, *SYNTAXES.values()])
@pytest.mark.parametrize("palette", list(Palette))
def test_known_uptake_reads_back_within_the_palettes_resolution(
    syntax: UID, palette: Palette, multiframe: bool, tmp_path: Path
) -> None:
    compression = next((one for one, written in SYNTAXES.items() if written == syntax), Compression.NONE)
    request = make_pictures(compression, make_known_picture(palette))
    pictures = [build_stack(request)] if multiframe else build_captures(request)
    read = []
    for ds in pictures:
        compress_picture(ds, compression)
        if compression is Compression.NONE:
            ds.file_meta.TransferSyntaxUID = syntax
        read.append(read_with(ds, tmp_path, READERS.get(compression, "")))
        assert dcmread(tmp_path / f"{ds.SOPInstanceUID}.dcm").file_meta.TransferSyntaxUID == syntax
    require_known(read[0] if multiframe else np.stack(read), palette)


def test_uptake_that_was_shown_otherwise_is_not_read_back() -> None:
    picture = make_known_picture(Palette.HOT_IRON)
    with pytest.raises(AssertionError):
        require_known(picture[:, :, ::-1], Palette.HOT_IRON)


def test_a_picture_too_small_for_jpeg_2000_and_an_object_without_one_stay_plain() -> None:
    request = with_output(make_request(), compression=Compression.JPEG2000)
    objects = build(request)
    assert {ds.file_meta.TransferSyntaxUID for ds in objects} == {ExplicitVRLittleEndian}
    verify_captures(objects, request)
    assert choose_syntax(objects[-1], Compression.RLE) == ExplicitVRLittleEndian


def test_what_the_encoder_refuses_is_named() -> None:
    [ds, *_] = build_captures(make_pictures(Compression.JPEGLS))
    ds.PixelData = ds.PixelData[:100]
    with pytest.raises(CaptureInvalid, match="JPEG-LS") as refusal:
        compress_picture(ds, Compression.JPEGLS)
    assert refusal.value.facts["sop_instance_uid"] == ds.SOPInstanceUID


@pytest.mark.system
@pytest.mark.parametrize(
    ("compression", "tool"),
    [(Compression.RLE, "dcmdrle"), (Compression.JPEG2000, ""), (Compression.JPEGLS, "dcmdjpls")],
)
def test_dcmtk_and_a_validator_read_every_syntax(compression: Compression, tool: str, tmp_path: Path) -> None:
    request = make_pictures(compression)
    [ds, *_] = build(request)
    assert [line for line in validate_object(ds, tmp_path) if line.startswith("Error")] == []
    path = tmp_path / f"{ds.SOPInstanceUID}.dcm"
    subprocess.run([require_tool("dcmdump"), "+L", str(path)], check=True, capture_output=True)
    if tool:
        subprocess.run([require_tool(tool), str(path), str(tmp_path / "plain.dcm")], check=True)
        np.testing.assert_array_equal(dcmread(tmp_path / "plain.dcm").pixel_array, request.fused.rgb[0])
