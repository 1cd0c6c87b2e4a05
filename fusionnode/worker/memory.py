"""Keeps a worker's memory near what it uses: what is freed goes back to the system (edge)."""

import ctypes

_M_MMAP_THRESHOLD = -3
_LARGE_BYTES = 1 << 22


def keep_large_blocks_apart() -> bool:
    """Tell the C library to take every block of 4 MB or more from the system, and to give it back when it is freed.

    glibc raises that limit by itself to 32 MB, so that whole volumes of a small series land on the heap. Every page of
    a block from the system is cleared anew: for the pixels of single slices that would cost more than the work on them.
    Returns whether the library took it; one that is not glibc does not know the call, and is left alone.
    """
    try:
        return bool(ctypes.CDLL(None).mallopt(_M_MMAP_THRESHOLD, _LARGE_BYTES))
    except (AttributeError, OSError, TypeError):
        return False


def return_free_pages() -> bool:
    """Give back what lies free on the heap, also between small objects that live on; False where glibc is not there.

    Left to itself it would stay: of the slices of a large MRI that was 200 MB.
    """
    try:
        return bool(ctypes.CDLL(None).malloc_trim(0))
    except (AttributeError, OSError, TypeError):
        return False
