"""Which part of the complex signal, as each vendor says it."""

from pathlib import Path

import pytest

from fusionnode.index.bounded import parse_header
from fusionnode.index.component import COMPONENT_TAGS, read_component
from tests.support.datasets import Layout, make_mr_series
from tests.support.raw import make_raw


def read_ge(folder: Path, kind: int, creator: str = "GEMS_PARM_01") -> str:
    """Write a slice as GE does, parse it as the index does, and read it."""
    ds = make_mr_series(Layout(slices=1, rows=4, columns=4))[0]
    ds.ImageType = ["ORIGINAL", "PRIMARY", "OTHER"]
    ds.private_block(0x0043, creator, create=True).add_new(0x2F, "SS", [kind, 0])
    path = folder / "ge.dcm"
    ds.save_as(path, enforce_file_format=True)
    return read_component(parse_header(path, COMPONENT_TAGS).ds)


@pytest.mark.parametrize(
    ("image_type", "component"),
    [
        ("ORIGINAL\\PRIMARY\\M\\ND\\NORM", "MAGNITUDE"),
        ("ORIGINAL\\PRIMARY\\P\\ND", "PHASE"),
        ("ORIGINAL\\PRIMARY\\M_FFE\\M\\FFE", "MAGNITUDE"),
        ("ORIGINAL\\PRIMARY\\PHASE MAP\\P\\FFE", "PHASE"),
        ("ORIGINAL\\PRIMARY\\PH_FFE\\PH_FFE\\FFE", "PHASE"),
        ("ORIGINAL\\PRIMARY\\R_IR\\R\\IR", "REAL"),
        ("ORIGINAL\\PRIMARY\\I_FFE\\I\\FFE", "IMAGINARY"),
        ("ORIGINAL\\PRIMARY\\M\\P", "MIXED"),
        ("ORIGINAL\\PRIMARY\\OTHER", ""),
        ("P\\P", ""),
        ("", ""),
    ],
)
def test_image_type_tells_it_from_its_third_value_on(image_type: str, component: str) -> None:
    assert read_component(make_raw({"Modality": "MR", "ImageType": image_type})) == component


def test_what_the_standard_provides_comes_first() -> None:
    ds = make_raw({"Modality": "MR", "ImageType": "A\\B\\P", "ComplexImageComponent": "MIXED "})
    assert read_component(ds) == "MIXED"


@pytest.mark.parametrize(
    ("kind", "component"), [(0, "MAGNITUDE"), (1, "PHASE"), (2, "REAL"), (3, "IMAGINARY"), (9, "")]
)
def test_ge_says_it_in_private_under_one_image_type_for_all(tmp_path: Path, kind: int, component: str) -> None:
    assert read_ge(tmp_path, kind) == component
    assert read_ge(tmp_path, kind, "SOMEBODY ELSE") == ""


def test_only_an_mr_image_has_components() -> None:
    assert read_component(make_raw({"Modality": "PT", "ImageType": "A\\B\\P"})) == ""
