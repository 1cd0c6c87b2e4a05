import numpy as np
import pytest

from fusionnode.pipeline.palettes import WELL_KNOWN_UIDS, palette_table
from fusionnode.pipeline.schema import Palette


@pytest.mark.parametrize("palette", list(Palette))
def test_a_palette_has_256_colours_and_nobody_can_change_them(palette: Palette) -> None:
    table = palette_table(palette)
    assert (table.shape, table.dtype) == ((256, 3), np.float64)
    assert 0 <= table.min() <= table.max() <= 1
    with pytest.raises(ValueError, match="read-only"):
        table[0, 0] = 1


def test_grey_is_a_ramp_and_no_well_known_palette() -> None:
    np.testing.assert_array_equal(palette_table(Palette.GREY), np.repeat(np.arange(256)[:, None], 3, axis=1) / 255)
    assert set(WELL_KNOWN_UIDS) == set(Palette) - {Palette.GREY}
