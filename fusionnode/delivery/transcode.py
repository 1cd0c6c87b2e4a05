"""Reads a stored file for a peer that does not take it as it is: the same values in a plain syntax (edge)."""

from pathlib import Path

from pydicom import Dataset, dcmread
from pydicom.errors import InvalidDicomError
from pydicom.uid import ExplicitVRLittleEndian, RLELossless

from fusionnode.errors import CaptureInvalid
from fusionnode.malformed import NOT_CODABLE


def read_plain(path: Path) -> Dataset:
    """Return the data set of ``path``, its pixel data decoded, as one that goes out in a plain syntax.

    Decoding loses nothing and the SOP Instance UID stays: it is the same image in another encoding (PS3.5 section
    10). Colours stored as YBR come out as RGB.

    Raises:
        CaptureInvalid: it cannot be read, or its frames not be decoded.
        FileNotFoundError: it is gone.
    """
    try:
        ds = dcmread(path)
        syntax = ds.file_meta.TransferSyntaxUID
        if syntax.is_encapsulated:
            # The faster decoder of RLE panics at damaged frames, which no handler of exceptions sees.
            ds.decompress(decoding_plugin="pydicom" if syntax == RLELossless else "", generate_instance_uid=False)
    except FileNotFoundError:
        raise
    except (InvalidDicomError, *NOT_CODABLE) as problem:
        raise CaptureInvalid(
            f"{path.name} cannot be decoded for a peer that does not take it compressed: {type(problem).__name__}.",
            remedy="Let the destination take its transfer syntax.",
        ) from problem
    # A deflated file was inflated when it was read.
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    return ds
