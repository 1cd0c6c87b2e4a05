"""A colour picture fused from known uptake, stored by a real PACS in every transfer syntax and read back from it."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from pydicom import Dataset
from pydicom.uid import (
    UID,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLSLossless,
    RLELossless,
)

from fusionnode.capture.build import build_captures
from fusionnode.capture.encode import compress_picture
from fusionnode.capture.multiframe import build_stack
from fusionnode.demo.pacs import OrthancPacs
from fusionnode.domain.images import FusedStack
from fusionnode.pipeline.schema import Compression, Palette
from tests.support.captures import make_job, make_request, make_scene, with_output
from tests.support.datasets import Layout
from tests.support.known_uptake import COLUMNS, ROWS, make_known_picture, require_known
from tests.support.nodes import make_settings, send_series

SYNTAXES = {
    ImplicitVRLittleEndian: Compression.NONE,
    ExplicitVRLittleEndian: Compression.NONE,
    RLELossless: Compression.RLE,
    JPEG2000Lossless: Compression.JPEG2000,
    JPEGLSLossless: Compression.JPEGLS,
}
PALETTE = Palette.HOT_METAL_BLUE


def build(syntax: UID, *, multiframe: bool) -> list[Dataset]:
    request = with_output(make_request(make_scene(fixed=Layout(2, ROWS, COLUMNS))), compression=SYNTAXES[syntax])
    job = replace(make_job(), id=f"{syntax} {multiframe}")
    request = replace(request, job=job, fused=FusedStack(make_known_picture(PALETTE), "laplacian@1.0"))
    objects = [build_stack(request)] if multiframe else build_captures(request)
    for ds in objects:
        compress_picture(ds, SYNTAXES[syntax])
        if syntax == ImplicitVRLittleEndian:
            ds.file_meta.TransferSyntaxUID = syntax
    return objects


@pytest.mark.system
@pytest.mark.timeout(120)
def test_known_uptake_is_read_back_from_the_pacs_in_every_transfer_syntax(orthanc: OrthancPacs, tmp_path: Path) -> None:
    settings = make_settings(tmp_path, ae_title=orthanc.ae_title)
    forms = [(syntax, multiframe) for syntax in SYNTAXES for multiframe in (False, True)]
    sent = [build(syntax, multiframe=multiframe) for syntax, multiframe in forms]
    everything = [ds for objects in sent for ds in objects]
    assert set(send_series(settings, orthanc.port, everything, tmp_path / "scratch")) == {"0000"}
    for (syntax, multiframe), objects in zip(forms, sent, strict=True):
        stored = sorted(orthanc.fetch_series(objects[0].SeriesInstanceUID), key=lambda ds: int(ds.InstanceNumber))
        assert {ds.file_meta.TransferSyntaxUID for ds in stored} == {syntax}
        pictures = stored[0].pixel_array if multiframe else np.stack([ds.pixel_array for ds in stored])
        require_known(pictures, PALETTE)
