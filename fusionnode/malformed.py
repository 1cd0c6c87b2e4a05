"""What pydicom and its decoders raise at data that break the rules, by observation: there is no one error for it."""

import struct

from pydicom.errors import BytesLengthException

MALFORMED = (
    ArithmeticError,
    AttributeError,
    BytesLengthException,
    EOFError,
    LookupError,
    NotImplementedError,
    OSError,
    TypeError,
    ValueError,
    struct.error,
)
"""At a value that breaks the rules of its VR, when it is first asked for. OSError is what is said of items that end too
early: what is read lies in memory."""

NOT_CODABLE = (*MALFORMED, RuntimeError)
"""At an object that cannot be read or written, or whose frames cannot be decoded; decoders in C raise RuntimeError."""
