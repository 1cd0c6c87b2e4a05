"""Measures what it costs that compressed frames are decoded by a process of their own.

Run it as ``python -m tests.benchmarks.bench_decoding`` (some minutes). A series of 400 slices of 512 x 512 is
decoded by pydicom in this process and by `FrameDecoder`, in each kind of transfer syntax. Printed are
seconds of processor time of this process and its children, the least of three.
"""

import resource
import sys
from collections.abc import Callable

import numpy as np
from pydicom import Dataset
from pydicom.pixels.utils import pixel_array
from pydicom.uid import (
    UID,
    ExplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    RLELossless,
)

from dicom_samples.edge_cases.jpeg_lossless import encode_jpeg_lossless
from fusionnode.volumes.decode import FrameDecoder
from tests.support.compressed import put_codestream
from tests.support.datasets import Layout, make_mr_series

SLICES = 400
_PLUGINS = {JPEGLosslessSV1: "gdcm", JPEGLSLossless: "gdcm", JPEG2000Lossless: "pylibjpeg", RLELossless: "pylibjpeg"}


def main() -> int:
    """Print one line per transfer syntax."""
    print(f"{'':44}{'here':>8}{'apart':>8}{'ratio':>8}")
    for syntax in (*_PLUGINS, ExplicitVRLittleEndian):
        ds, plugin = _make_slice(syntax), _PLUGINS.get(syntax, "")
        here_s, apart_s = _measure(ds, plugin)
        print(f"{syntax.name[:42]:44}{here_s:8.2f}{apart_s:8.2f}{apart_s / here_s:8.2f}", flush=True)
    peak_mb = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss >> 10
    print(f"The decoding process took at most {peak_mb} MB.")
    return 0


def _make_slice(syntax: UID) -> Dataset:
    pixels = (np.add.outer(np.arange(512), np.arange(512)) + np.random.default_rng(1).integers(0, 40, (512, 512))) // 2
    ds = make_mr_series(Layout(1, 512, 512), voxels=pixels[None].astype(np.uint16))[0]
    ds.BitsStored, ds.HighBit = 12, 11
    if syntax == JPEGLosslessSV1:
        return put_codestream(ds, encode_jpeg_lossless(pixels.astype(np.uint16), 12), syntax)
    if syntax.is_encapsulated:
        ds.compress(syntax, generate_instance_uid=False)
    return ds


def _measure(ds: Dataset, plugin: str) -> tuple[float, float]:
    def decode_here() -> None:
        for _ in range(SLICES):
            pixel_array(ds, index=0, decoding_plugin=plugin)

    def decode_apart() -> None:
        with FrameDecoder() as decoder:
            for _ in range(SLICES):
                decoder.decode(ds, None)

    pixel_array(ds, index=0, decoding_plugin=plugin)  # what is imported by the first one counts for neither
    return min(_time(decode_here) for _ in range(3)), min(_time(decode_apart) for _ in range(3))


def _time(work: Callable[[], None]) -> float:
    before_s = _spent_seconds()
    work()
    return _spent_seconds() - before_s


def _spent_seconds() -> float:
    usages = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


if __name__ == "__main__":
    sys.exit(main())
