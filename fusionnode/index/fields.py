"""Edge: reads single values out of raw data elements; what is odd counts as absent, and nothing is ever raised.

The bytes are read here and not through pydicom's value objects, because those raise, warn (quoting patient data) or
give another type depending on what a vendor wrote, and a header has to be readable whatever was written.
"""

import math
import re
import struct
import unicodedata

from pydicom import Dataset
from pydicom.charset import convert_encodings, decode_bytes
from pydicom.datadict import dictionary_VR
from pydicom.dataelem import RawDataElement
from pydicom.sequence import Sequence
from pydicom.valuerep import VR

LARGEST_COUNT = 2**31 - 1
"""Counts beyond this are claims, not counts; it is also what fits the database."""

_LONGEST_TEXT = 1024
# Control characters, halves of pairs, what turns the direction of the text around it, and ends of lines.
_UNPRINTABLE = ("Cc", "Cs", "Cf", "Zl", "Zp")
_DECIMAL = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")
_INTEGER = re.compile(r"[+-]?\d{1,12}")


def read_text(ds: Dataset, keyword: str | int) -> str:
    """Return the value as clean text: decoded, without padding or what no screen shows; empty when absent.

    Several values are joined with a backslash. At most 1024 characters are kept.
    """
    raw = _read_bytes(ds, keyword)
    if not raw:
        return ""
    decoded = _decode(raw[: 4 * _LONGEST_TEXT], _read_encodings(ds))
    values = [_clean(value) for value in decoded.split("\\")]
    return "\\".join(values).strip("\\")[:_LONGEST_TEXT]


def read_decimals(ds: Dataset, keyword: str, count: int) -> tuple[float, ...] | None:
    """Return exactly ``count`` finite numbers of a DS attribute, or None."""
    texts = read_text(ds, keyword).split("\\")
    if len(texts) != count or not all(_DECIMAL.fullmatch(text) for text in texts):
        return None
    numbers = tuple(float(text) for text in texts)
    return numbers if all(math.isfinite(number) for number in numbers) else None


def read_integer(ds: Dataset, keyword: str) -> int | None:
    """Return the first value of an IS attribute, or None; decimals such as ``12.0``, which vendors write, count."""
    text = read_text(ds, keyword).split("\\")[0]
    if _INTEGER.fullmatch(text):
        number = int(text)
    elif _DECIMAL.fullmatch(text) and math.isfinite(float(text)) and float(text).is_integer():
        number = int(float(text))
    else:
        return None
    return number if abs(number) <= LARGEST_COUNT else None


def read_unsigned(ds: Dataset, keyword: str | int) -> int:
    """Return the first value of a US attribute, 0 when absent."""
    return next(iter(read_unsigneds(ds, keyword)), 0)


def read_unsigneds(ds: Dataset, keyword: str | int) -> list[int]:
    """Return all values of a US attribute."""
    element = _find_raw(ds, keyword)
    if element is None or not isinstance(element.value, bytes):
        return []
    order = "<" if element.is_little_endian else ">"
    return [number for (number,) in struct.iter_unpack(f"{order}H", element.value[: len(element.value) // 2 * 2])]


def read_attribute(ds: Dataset, keyword: str) -> str:
    """Return a value of any text or FD representation as text; empty when absent."""
    if dictionary_VR(keyword) == VR.FD:
        return _read_double(ds, keyword)
    return read_text(ds, keyword)


def read_items(ds: Dataset, keyword: str) -> list[Dataset]:
    """Return the items of a sequence.

    Raises:
        Whatever pydicom raises on malformed bytes, if the sequence was not parsed yet: see `bounded.PARSER_FAILURES`.
    """
    value = ds[keyword].value if keyword in ds else None
    return list(value) if isinstance(value, Sequence) else []


def read_first_item(ds: Dataset, keyword: str) -> Dataset:
    """Return the first item of a sequence, or an empty data set.

    Raises:
        As `read_items`.
    """
    return next(iter(read_items(ds, keyword)), Dataset())


def _find_raw(ds: Dataset, keyword: str | int) -> RawDataElement | None:
    if keyword not in ds:
        return None
    # An empty value would be converted, and that fails where the value representation is none.
    element = ds.get_item(keyword, keep_deferred=True)
    return element if isinstance(element, RawDataElement) else None


def _read_bytes(ds: Dataset, keyword: str | int) -> bytes:
    element = _find_raw(ds, keyword)
    return element.value if element is not None and isinstance(element.value, bytes) else b""


def _read_double(ds: Dataset, keyword: str) -> str:
    element = _find_raw(ds, keyword)
    if element is None or not element.value or len(element.value) < 8:
        return ""
    (number,) = struct.unpack("<d" if element.is_little_endian else ">d", element.value[:8])
    return f"{number:g}" if math.isfinite(number) else ""


def _read_encodings(ds: Dataset) -> list[str]:
    """Return the Python codecs for (0008,0005) Specific Character Set (PS3.3 C.12.1.1.2)."""
    names = _read_bytes(ds, "SpecificCharacterSet").decode("ascii", "replace").strip("\0 ").split("\\")
    try:
        return convert_encodings([name.strip() for name in names])
    except (LookupError, ValueError):
        return ["latin-1"]


def _decode(raw: bytes, encodings: list[str]) -> str:
    if raw.isascii() and b"\x1b" not in raw:
        return raw.decode("ascii")
    try:
        return decode_bytes(raw, encodings, {ord(letter) for letter in "\\^="})
    except (LookupError, ValueError):
        # Any one-to-one reading will do: an identifier only has to compare equal to itself.
        return raw.decode("latin-1")


def _clean(text: str) -> str:
    return "".join(letter for letter in text if unicodedata.category(letter) not in _UNPRINTABLE).strip()
