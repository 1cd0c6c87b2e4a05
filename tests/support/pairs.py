"""Makes a small prepared pair, as the prepare step would hand it on."""

import numpy as np

from fusionnode.domain.images import PreparedPair, Window
from fusionnode.domain.motion import MotionEstimate, MotionMethod, MotionQuality, RigidMotion
from fusionnode.domain.terms import Unit
from fusionnode.domain.uids import derive_uid
from fusionnode.domain.volume import SourceFrame
from tests.support.datasets import Layout

_MR, _PT = "1.2.840.10008.5.1.4.1.1.4", "1.2.840.10008.5.1.4.1.1.128"
_QUALITY = MotionQuality(0.8, 0.6, 0.3, second_opinion_mm=1.5, starts_apart_mm=0.1, stretch=0.02)


def make_prepared_pair(layout: Layout | None = None, seed: int = 0) -> PreparedPair:
    """Return random stacks on ``layout`` (default: 12 x 32 x 24) with a motion of 3 mm along the second axis."""
    layout = layout or Layout()
    random = np.random.default_rng(seed)
    matrix = np.eye(4)
    matrix[1, 3] = 3.0
    return PreparedPair(
        fixed=random.random(layout.shape, dtype=np.float32),
        moving=random.random(layout.shape, dtype=np.float32),
        covered=np.ones(layout.shape, dtype=np.bool_),
        grid=layout.grid,
        frame_of_reference_uid=derive_uid("frame", "fixed"),
        moving_frame_of_reference_uid=derive_uid("frame", "moving"),
        fixed_window=Window(0.0, 900.0, Unit.ARBITRARY),
        moving_window=Window(0.0, 8.5, Unit.SUVBW),
        estimate=MotionEstimate(
            RigidMotion(matrix), MotionMethod.REGISTERED, "brain-rigid", 3.0, 0.97, quality=_QUALITY
        ),
        fixed_sources=tuple(SourceFrame(_MR, derive_uid("mr", str(index))) for index in range(layout.slices)),
        moving_sources=tuple(SourceFrame(_PT, derive_uid("pt", str(index))) for index in range(5)),
        notes=("a remark",),
    )
