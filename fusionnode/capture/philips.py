"""The factors by which Philips PET in counts becomes SUV and Bq/ml, kept where they still hold (middle).

They are private attributes, (7053,xx00) and (7053,xx09), and viewers read them where Units are CNTS. They belong to
rescaled values, which the resampled series has too.
"""

import math
from collections.abc import Sequence

from pydicom import Dataset
from pydicom.valuerep import format_number_as_ds

from fusionnode.malformed import MALFORMED

_GROUP, _CREATOR = 0x7053, "Philips PET Private Group"
_FACTORS = (0x00, 0x09)
"""SUV Scale Factor and Activity Concentration Scale Factor."""


def keep_factors(ds: Dataset, headers: Sequence[Dataset]) -> None:
    """Write the factors that all ``headers`` state alike into ``ds``, below their private creator (PS3.5 7.8).

    One that differs from slice to slice has no meaning for values interpolated between them: it is left out, so that
    nobody can compute with it. So is one that is no positive number, by which the scanner says that there is none.
    """
    for offset in _FACTORS:
        values = {_read_factor(header, offset) for header in headers}
        factor = values.pop() if len(values) == 1 else 0.0
        if factor > 0:
            block = ds.private_block(_GROUP, _CREATOR, create=True)
            block.add_new(offset, "DS", format_number_as_ds(factor))


def _read_factor(header: Dataset, offset: int) -> float:
    """0 where there is none; the value is text, also where its VR was lost on the way."""
    try:
        value = header.private_block(_GROUP, _CREATOR)[offset].value
        text = value.decode("ascii") if isinstance(value, bytes) else str(value)
        factor = float(text.strip(" \0"))
    except MALFORMED:
        return 0.0
    return factor if math.isfinite(factor) else 0.0
