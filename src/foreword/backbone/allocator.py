"""Freed memory stays with the process.

A training step frees and asks for the same large buffers again and again. glibc hands each back to the system, and the
system clears every page anew.
"""

from __future__ import annotations

import ctypes
import sys

TRIM_THRESHOLD, MMAP_THRESHOLD = -1, -3
"""mallopt(3): how much free memory is kept at the heap's end, and from what size on a buffer is mapped by itself."""
KEPT = 2**30


def keep_freed_memory() -> bool:
    """Tell glibc to keep up to a gigabyte of freed memory; whether it took it. Elsewhere nothing is done.

    It changes no result, and the peak of memory only by fragmentation.
    """
    if not sys.platform.startswith("linux"):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):  # another C library
        return False
    return bool(mallopt(MMAP_THRESHOLD, KEPT)) and bool(mallopt(TRIM_THRESHOLD, KEPT))
