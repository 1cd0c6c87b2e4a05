"""Makes data sets of raw elements, as the parser leaves them before anybody has looked at their values."""

from collections.abc import Mapping

from pydicom import Dataset
from pydicom.datadict import dictionary_VR, tag_for_keyword
from pydicom.dataelem import RawDataElement
from pydicom.tag import Tag


def make_raw(elements: Mapping[str, str | bytes], little: bool = True) -> Dataset:
    """A data set of these values by keyword; text is written as Latin-1."""
    ds = Dataset()
    for keyword, value in elements.items():
        raw = value if isinstance(value, bytes) else value.encode("latin-1")
        number = tag_for_keyword(keyword)
        assert number is not None, keyword
        tag = Tag(number)
        ds[tag] = RawDataElement(tag, dictionary_VR(tag), len(raw), raw, 0, False, little)
    return ds
