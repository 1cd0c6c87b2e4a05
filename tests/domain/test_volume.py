"""A volume is float32 on its own grid, or it is not made."""

import numpy as np
import pytest

from fusionnode.domain.grid import Grid
from fusionnode.domain.terms import Unit
from fusionnode.domain.volume import SourceFrame, Volume

GRID = Grid((2, 3, 4), np.eye(4))


@pytest.mark.parametrize("dtype", [np.float64, np.int16, np.uint8, np.float16])
def test_the_dtype_never_depends_on_the_data(dtype: type[np.generic]) -> None:
    with pytest.raises(ValueError, match="float32"):
        Volume(np.zeros(GRID.shape, dtype), GRID, Unit.BQML, "1.2", "1.3")  # type: ignore[arg-type]


@pytest.mark.parametrize("shape", [(3, 2, 4), (2, 3), (2, 3, 4, 1)])
def test_voxels_of_another_shape_than_the_grid_are_a_defect(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="shape"):
        Volume(np.zeros(shape, np.float32), GRID, Unit.BQML, "1.2", "1.3")


def test_a_volume_keeps_its_sources_in_slice_order() -> None:
    sources = tuple(SourceFrame("1.2.840", f"1.2.{index}") for index in (2, 1))
    volume = Volume(np.zeros(GRID.shape, np.float32), GRID, Unit.SUVBW, "1.2", "1.3", sources)
    assert [source.sop_instance_uid for source in volume.sources] == ["1.2.2", "1.2.1"]
    assert volume.sources[0].frame_number is None
