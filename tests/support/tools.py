"""Finds programs that some tests need, and says loudly when they are missing."""

import os
import shutil
import subprocess
from pathlib import Path
from typing import NoReturn

import pytest
from pydicom import Dataset, dcmwrite

KINDS = frozenset(
    {
        "BlendingSoftcopyPresentationState",
        "EncapsulatedPDF",
        "MultiframeTrueColorSCImage",
        "NMImage",
        "PETImage",
        "SCImage",
        "SpatialRegistration",
    }
)
"""What dciodvfy calls the kinds of objects that are written here."""


def require_tool(name: str) -> str:
    """Return the path of program ``name``; without it the test cannot run (`forgo`)."""
    path = shutil.which(name)
    return path or forgo(f"{name} is not installed")


def require_postgres() -> None:
    """Make sure that the programs of a PostgreSQL server are there; without them the test cannot run (`forgo`)."""
    if not list(Path("/usr/lib/postgresql").glob("*/bin/initdb")):
        forgo("no PostgreSQL server is installed")


def forgo(reason: str) -> NoReturn:
    """Skip the test for ``reason``, but fail it where every service is promised.

    They are promised by ``CI=true`` or ``FUSIONNODE_REQUIRE_SERVICES=1``: there a missing one is a broken machine,
    not a reason to test less.
    """
    if os.environ.get("CI") == "true" or os.environ.get("FUSIONNODE_REQUIRE_SERVICES") == "1":
        pytest.fail(f"{reason}, though this environment promises it")
    pytest.skip(reason)


def validate_object(ds: Dataset, folder: Path) -> list[str]:
    """Return what dciodvfy has to say about ``ds``, one line each; skip without it.

    It names the kind of object it checked; a run that does not has checked nothing and fails.
    """
    tool = require_tool("dciodvfy")
    path = folder / f"{ds.SOPInstanceUID}.dcm"
    dcmwrite(path, ds, enforce_file_format=True)
    spoken = subprocess.run([tool, "-new", str(path)], capture_output=True, text=True, check=False).stderr.splitlines()
    kinds = [line for line in spoken if line in KINDS]
    assert kinds, f"dciodvfy did not recognise the object: {spoken}"
    return spoken
