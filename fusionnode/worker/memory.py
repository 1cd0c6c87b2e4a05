"""Keeps a worker's memory near what it uses: large blocks go back to the system as soon as they are freed (edge)."""

import ctypes

_M_MMAP_THRESHOLD = -3
_LARGE_BYTES = 1 << 18


def return_large_blocks() -> bool:
    """Tell the C library to take every block of 256 KB or more from the system, and to give it back when it is freed.

    glibc raises that limit by itself to 32 MB, so the pixels of hundreds of slices land on the heap; what is left of
    them there, between small objects that live on, was 200 MB of a large MRI. Returns whether the library took it;
    one that is not glibc does not know the call, and is left alone.
    """
    try:
        return bool(ctypes.CDLL(None).mallopt(_M_MMAP_THRESHOLD, _LARGE_BYTES))
    except (AttributeError, OSError, TypeError):
        return False
