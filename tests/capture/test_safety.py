import pytest
from pydicom import Dataset
from pydicom.uid import JPEGBaseline8Bit

from fusionnode.capture.build import build_captures
from tests.support.captures import make_request, make_scene, make_scene_with


def capture_one(index: int = 2, **changes: object) -> Dataset:
    return build_captures(make_request(**changes))[index]


@pytest.mark.parametrize(
    ("part", "fixed", "moving", "expected"),
    [
        ("BRAIN", "", "", "YES"),
        ("", "", "", "YES"),
        ("KNEE", "", "", None),
        ("KNEE", "", "YES", "YES"),
        ("BRAIN", "NO", "", "YES"),
        ("BRAIN", "NO", "NO", "NO"),
    ],
)
def test_a_head_has_a_face_unless_both_sources_say_it_was_removed(
    part: str, fixed: str, moving: str, expected: str | None
) -> None:
    scene = make_scene_with("fixed", BodyPartExamined=part, RecognizableVisualFeatures=fixed)
    for ds in scene.moving:
        ds.RecognizableVisualFeatures = moving
    assert capture_one(scene=scene).get("RecognizableVisualFeatures") == expected


@pytest.mark.parametrize("which", ["fixed", "moving"])
def test_text_burned_into_a_source_is_burned_into_the_picture(which: str) -> None:
    assert capture_one(scene=make_scene_with(which, BurnedInAnnotation="YES")).BurnedInAnnotation == "YES"


@pytest.mark.parametrize("which", ["fixed", "moving"])
def test_once_lossy_always_lossy(which: str) -> None:
    lossy = {"LossyImageCompression": "01", "LossyImageCompressionRatio": "12.5"}
    ds = capture_one(scene=make_scene_with(which, **lossy, LossyImageCompressionMethod="ISO_10918_1"))
    assert (ds.LossyImageCompression, str(ds.LossyImageCompressionRatio)) == ("01", "12.5")
    assert ds.LossyImageCompressionMethod == "ISO_10918_1"
    assert capture_one().LossyImageCompression == "00"


def test_a_loss_that_only_the_transfer_syntax_tells_is_told() -> None:
    scene = make_scene()
    scene.moving[1].file_meta.TransferSyntaxUID = JPEGBaseline8Bit
    ds = capture_one(scene=scene)
    assert (ds.LossyImageCompression, ds.LossyImageCompressionMethod) == ("01", "ISO_10918_1")
