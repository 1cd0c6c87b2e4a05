"""Every kind of object that fusionnode writes of the sample head, as files and in a PACS."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pydicom import Dataset, dcmread

from fusionnode.delivery.destination import Destination
from fusionnode.delivery.sender import AssociationSender
from fusionnode.demo.pacs import OrthancPacs
from fusionnode.flow.ports import Delivery
from fusionnode.pipeline.parse import parse_pipeline
from fusionnode.pipeline.schema import Output, Pipeline
from fusionnode.wiring import find_shared
from fusionnode.worker.files import FilesRequest, fuse_folders

MOMENT = datetime(2026, 1, 2, tzinfo=UTC)
HEAD = find_shared("dicom_samples") / "head"
DEFAULT = "plain"
_ALL_OF_PET = {"compression": "jpegls", "colour_bar": True, "resampled": True, "sheet": "pdf", "blending": True}
VARIANTS: Mapping[str, tuple[str, Mapping[str, Any]]] = {
    DEFAULT: ("mr-pt", {}),
    "bar": ("mr-pt", _ALL_OF_PET),
    "j2k": ("mr-pt", {"compression": "jpeg2000"}),
    "rle": ("mr-pt", {"compression": "rle"}),
    "isotropic": ("mr-pt", {"grid": "isotropic"}),
    "frames": ("mr-pt", {"multiframe": True, "sheet": "image"}),
    "spect": ("mr-nm", {"resampled": True}),
}
"""By name: the pipeline that comes with fusionnode, and what differs in its `output`."""


@dataclass(frozen=True)
class Shown:
    """One series to look at.

    Attributes:
        name: of its pictures, ASCII.
        instances: its objects without pixels, along their Instance Number.
        paths: their files, in the same order.
    """

    name: str
    instances: tuple[Dataset, ...]
    paths: tuple[Path, ...]

    @property
    def uid(self) -> str:
        """Series Instance UID."""
        return str(self.instances[0].SeriesInstanceUID)

    @property
    def study_uid(self) -> str:
        """Study Instance UID."""
        return str(self.instances[0].StudyInstanceUID)

    @property
    def pictures(self) -> int:
        """Number of pictures in it: slices, or frames; 0 where it has no pixels."""
        return sum(int(ds.get("NumberOfFrames") or 1) for ds in self.instances if "Rows" in ds)


def make_objects(folder: Path, variants: Sequence[str] = tuple(VARIANTS)) -> dict[str, Shown]:
    """Fuse the sample head once for each of the ``variants``; return its series and all that was written, by name."""
    shown = [_read(name, HEAD / name) for name in ("mr", "pt", "nm")]
    for variant in variants:
        base, output = VARIANTS[variant]
        pipeline = _make_pipeline(base, variant, output)
        moving = HEAD / base.removeprefix("mr-")
        fuse_folders(FilesRequest(HEAD / "mr", moving, folder / variant), [pipeline], MOMENT)
        shown += _list_series(variant, folder / variant)
    return {one.name: one for one in shown}


def store(shown: Iterable[Shown], pacs: OrthancPacs) -> None:
    """Send the files to Orthanc by C-STORE, as a node does.

    Raises:
        RuntimeError: it did not take one of them.
    """
    peer = Destination("pacs", pacs.ae_title, "127.0.0.1", pacs.port, "FUSIONNODE")
    deliveries = [
        Delivery("shown", peer.name, str(ds.SOPClassUID), str(ds.SOPInstanceUID), str(path))
        for one in shown
        for ds, path in zip(one.instances, one.paths, strict=True)
    ]
    for outcome in AssociationSender(Path("/"), {peer.name: peer}).send(peer.name, deliveries):
        if not outcome.stored:
            raise RuntimeError(f"{outcome.delivery.path}: {outcome.status}")


def _make_pipeline(base: str, variant: str, output: Mapping[str, Any]) -> Pipeline:
    """The shipped pipeline under the variant's name, because UIDs are derived from it."""
    text = (find_shared("pipelines") / f"{base}.yaml").read_text(encoding="utf-8")
    pipeline = parse_pipeline(text, base)
    changed = Output.model_validate({**pipeline.output.model_dump(), **output})
    return pipeline.model_copy(update={"name": f"{base}-{variant}", "output": changed})


def _list_series(variant: str, folder: Path) -> Iterator[Shown]:
    for found in sorted(folder.iterdir()):
        if found.is_dir() or found.suffix == ".dcm":
            yield _read(f"{variant}-{found.stem}", found)


def _read(name: str, place: Path) -> Shown:
    paths = sorted(place.glob("*.dcm")) if place.is_dir() else [place]
    read = [(dcmread(path, stop_before_pixels=True), path.resolve()) for path in paths]
    read.sort(key=lambda pair: int(pair[0].get("InstanceNumber") or 0))
    return Shown(name, tuple(ds for ds, _ in read), tuple(path for _, path in read))
