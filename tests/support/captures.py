"""Makes capture requests: from synthetic series, or from real headers, without the chapters that usually do."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import cache
from io import BytesIO
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset, dcmread, dcmwrite

from fusionnode.capture.request import CaptureRequest
from fusionnode.domain.grid import Grid
from fusionnode.domain.images import FusedStack, PreparedPair, Window
from fusionnode.domain.job import Job, JobState, derive_job_id
from fusionnode.domain.motion import MotionEstimate, MotionMethod, RigidMotion
from fusionnode.domain.series import SeriesKey
from fusionnode.domain.terms import Unit
from fusionnode.domain.volume import SourceFrame
from fusionnode.pipeline.schema import Output, OutputGrid, Pipeline, SeriesRule
from fusionnode.registration.resample import find_cubes
from fusionnode.volumes.suv import measure_suv
from tests.support.datasets import Identity, Layout, make_mr_series, make_nm_recon, make_pt_series

MOMENT = datetime(2024, 3, 6, 23, 30, 15, 250000, UTC)
FRAME = "1.2.826.0.1.3680043.10.1.1"
OTHER_FRAME = "1.2.826.0.1.3680043.10.1.2"
FIXED_LAYOUT = Layout(slices=5, rows=9, columns=7)


@dataclass(frozen=True, eq=False)
class Scene:
    """Headers of both series and the motion between them; everything else of a request follows."""

    fixed: Sequence[Dataset]
    moving: Sequence[Dataset]
    motion: RigidMotion = field(default_factory=RigidMotion.identity)
    seed: int = 0


def make_pipeline(description: str = "MR+PET brain", number: int = 9001) -> Pipeline:
    """The least pipeline that validates."""
    return Pipeline(
        name="brain-pet",
        version="1.2",
        fixed=SeriesRule(modality=("MR",)),
        moving=SeriesRule(modality=("PT", "NM")),
        output=Output(series_description=description, series_number=number),
    )


def make_job(supersedes: str = "", moment: datetime = MOMENT) -> Job:
    """A job about to be captured."""
    fixed, moving = SeriesKey("1.2.3", 1), SeriesKey("1.2.4", 1)
    job_id = derive_job_id("brain-pet", "1.2", str(fixed), str(moving))
    return Job(job_id, "brain-pet", "1.2", fixed, moving, False, JobState.FUSING, moment, supersedes=supersedes)


def make_motion(angle_deg: float = 12.0, shift_mm: tuple[float, float, float] = (4.0, -16.0, 7.5)) -> RigidMotion:
    """A rotation about a tilted axis (Rodrigues' formula) and a translation."""
    axis = np.asarray([0.36, 0.48, 0.8])
    cross = np.asarray([[0, -axis[2], axis[1]], [axis[2], 0, -axis[0]], [-axis[1], axis[0], 0]])
    angle = np.deg2rad(angle_deg)
    matrix = np.eye(4)
    matrix[:3, :3] = np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * cross @ cross
    matrix[:3, 3] = shift_mm
    return RigidMotion(matrix)


def make_scene(modality: str = "PT", *, shared: bool = False, fixed: Layout = FIXED_LAYOUT) -> Scene:
    """A synthetic pair; frames of reference differ, and the motion is not the identity, unless ``shared``."""
    mri = make_mr_series(fixed, Identity(frame_of_reference_uid=FRAME))
    identity = Identity(series_number=2, frame_of_reference_uid=FRAME if shared else OTHER_FRAME)
    layout = Layout(slices=8, rows=6, columns=6, spacing_mm=(2.0, 3.0, 3.0), origin_mm=(-16.0, -16.0, -20.0))
    functional = make_pt_series(layout, identity) if modality == "PT" else [make_nm_recon(layout, identity)]
    return Scene(mri, functional, RigidMotion.identity() if shared else make_motion())


def make_scene_with(which: str = "fixed", **values: object) -> Scene:
    """A synthetic PET pair of whose ``which`` series every data set has ``values``."""
    scene = make_scene()
    for ds in getattr(scene, which):
        for keyword, value in values.items():
            setattr(ds, keyword, value)
    return scene


def make_request(scene: Scene | None = None, **changes: object) -> CaptureRequest:
    """The request of ``scene`` with random pictures; ``changes`` replace fields of the request or of the pair."""
    scene = scene or make_scene()
    fixed = sort_headers(scene.fixed)
    grid = find_grid(fixed)
    prepared = _prepare(scene, fixed, grid)
    pair_changes = {name: changes.pop(name) for name in list(changes) if name in PreparedPair.__dataclass_fields__}
    prepared = replace(prepared, **pair_changes)  # type: ignore[arg-type]
    rgb = np.random.default_rng(scene.seed).integers(0, 256, (*grid.shape, 3), dtype=np.uint8)
    request = CaptureRequest(
        make_job(), make_pipeline(), prepared, FusedStack(rgb, "laplacian@1.0"), scene.fixed, scene.moving, UTC, "0.1.0"
    )
    return replace(request, **changes)  # type: ignore[arg-type]


def with_output(request: CaptureRequest, **changes: object) -> CaptureRequest:
    """The request under a pipeline whose `output` section differs in ``changes``."""
    output = request.pipeline.output.model_copy(update=changes)
    return replace(request, pipeline=request.pipeline.model_copy(update={"output": output}))


def with_uptake(request: CaptureRequest, scale: float | None = None, low: float = 0.0) -> CaptureRequest:
    """The request of a pipeline that writes the resampled series, with random values from ``low`` to 8 in the window's
    unit; ``scale`` is what the source's own values were multiplied by: as a rule what SUV asks for, where it is known.
    """
    if scale is None:
        scale = measure_suv(request.moving_headers).factor or 1e-4
    shape = request.prepared.grid.shape
    uptake = np.random.default_rng(11).uniform(low, 8.0, shape).astype(np.float32)
    prepared = replace(request.prepared, uptake=uptake, moving_scale=scale)
    return with_output(replace(request, prepared=prepared), resampled=True)


def reformat(request: CaptureRequest) -> CaptureRequest:
    """The request on cubes of its finest spacing, with random pictures."""
    prepared = request.prepared
    grid = find_cubes(prepared.grid)
    nearest = np.rint(np.arange(grid.shape[0]) * grid.spacing_mm[0] / prepared.grid.spacing_mm[0]).astype(int)
    stack = np.zeros(grid.shape, np.float32)
    prepared = replace(
        prepared,
        fixed=stack,
        moving=stack,
        covered=np.ones(grid.shape, np.bool_),
        grid=grid,
        fixed_sources=tuple(prepared.fixed_sources[index] for index in nearest),
    )
    rgb = np.random.default_rng(5).integers(0, 256, (*grid.shape, 3), dtype=np.uint8)
    fused = FusedStack(rgb, request.fused.model)
    return with_output(replace(request, prepared=prepared, fused=fused), grid=OutputGrid.ISOTROPIC)


def sort_headers(headers: Sequence[Dataset]) -> list[Dataset]:
    """Classic slices along their own normal."""
    orientation = np.asarray(headers[0].ImageOrientationPatient, dtype=np.float64)
    normal = np.cross(orientation[:3], orientation[3:])
    return sorted(headers, key=lambda ds: float(np.asarray(ds.ImagePositionPatient, dtype=np.float64) @ normal))


def find_grid(headers: Sequence[Dataset]) -> Grid:
    """Grid of sorted classic slices."""
    first, last = headers[0], headers[-1]
    across, down = np.asarray(first.ImageOrientationPatient, dtype=np.float64).reshape(2, 3)
    span = np.asarray(last.ImagePositionPatient, float) - np.asarray(first.ImagePositionPatient, float)
    step_mm = float(np.linalg.norm(span)) / max(1, len(headers) - 1) or 1.0
    directions = np.column_stack([np.cross(across, down), down, across])
    spacing_mm = (step_mm, float(first.PixelSpacing[0]), float(first.PixelSpacing[1]))
    origin_mm = np.asarray(first.ImagePositionPatient, dtype=np.float64)
    return Grid.from_axes((len(headers), first.Rows, first.Columns), origin_mm, directions, spacing_mm)


def encode(ds: Dataset) -> bytes:
    """The object as a file."""
    stream = BytesIO()
    dcmwrite(stream, ds, enforce_file_format=True)
    return stream.getvalue()


def write_and_read(datasets: Sequence[Dataset]) -> list[Dataset]:
    """The data sets as another program would meet them, without pixels."""
    return [dcmread(BytesIO(encode(ds)), stop_before_pixels=True) for ds in datasets]


def raw_value(ds: Dataset, keyword: str) -> bytes:
    """The bytes of a top-level element as they stand in the file."""
    element = dcmread(BytesIO(encode(ds))).get_item(keyword)
    assert element is not None
    assert isinstance(element.value, bytes)
    return element.value


@cache
def read_headers(folder: Path) -> tuple[Dataset, ...]:
    """Headers of a real series; a folder holds one series."""
    return tuple(dcmread(path, stop_before_pixels=True) for path in sorted(folder.glob("*.dcm")))


def make_sources(headers: Sequence[Dataset]) -> tuple[SourceFrame, ...]:
    """One source for each frame, as the volumes chapter would list them."""
    sources: list[SourceFrame] = []
    for ds in headers:
        frames = int(ds.get("NumberOfFrames") or 0)
        numbers: list[int | None] = list(range(1, frames + 1)) if frames else [None]
        sources += [SourceFrame(str(ds.SOPClassUID), str(ds.SOPInstanceUID), number) for number in numbers]
    return tuple(sources)


def carry(points_mm: NDArray[np.float64], matrix: NDArray[np.float64]) -> NDArray[np.float64]:
    """Map (n, 3) points by a 4x4 matrix, one coordinate at a time: independent of the code under test."""
    return np.asarray(
        [[sum(matrix[r][c] * p[c] for c in range(3)) + matrix[r][3] for r in range(3)] for p in points_mm]
    )


def _prepare(scene: Scene, fixed: Sequence[Dataset], grid: Grid) -> PreparedPair:
    shared = fixed[0].FrameOfReferenceUID == scene.moving[0].FrameOfReferenceUID
    method = MotionMethod.SHARED_FRAME if shared else MotionMethod.REGISTERED
    quality = (float("nan"), float("nan"), 0) if shared else (0.6123, 0.3101, 187)
    distance_mm = float("nan") if shared else 3.1
    estimate = MotionEstimate(scene.motion, method, "" if shared else "brain-rigid", distance_mm, 0.87, *quality)
    stack = np.zeros(grid.shape, np.float32)
    return PreparedPair(
        fixed=stack,
        moving=stack,
        covered=np.ones(grid.shape, np.bool_),
        grid=grid,
        frame_of_reference_uid=str(fixed[0].FrameOfReferenceUID),
        moving_frame_of_reference_uid=str(scene.moving[0].FrameOfReferenceUID),
        fixed_window=Window(12.0, 1480.0, Unit.ARBITRARY),
        moving_window=Window(0.0, 8.25, Unit.SUVBW),
        estimate=estimate,
        fixed_sources=make_sources(fixed),
        moving_sources=make_sources(sort_headers(scene.moving) if len(scene.moving) > 1 else scene.moving),
    )
