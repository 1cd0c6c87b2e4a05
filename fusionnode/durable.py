"""What a power cut must not take back (edge)."""

import os
from pathlib import Path


def sync_folder(folder: Path) -> None:
    """Make the renames and new names in ``folder`` survive a power cut."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
