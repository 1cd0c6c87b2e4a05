"""What is needed to make the objects of one job, bundled; and how a slice finds its source header (middle)."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, tzinfo
from functools import cached_property

from pydicom import Dataset

import fusionnode
from fusionnode.capture.identity import FusedIdentity
from fusionnode.capture.inherit import read_text
from fusionnode.capture.stamp import find_local_moment
from fusionnode.domain.images import FusedStack, PreparedPair, RgbStack
from fusionnode.domain.job import Job
from fusionnode.domain.volume import SourceFrame
from fusionnode.errors import CaptureInvalid
from fusionnode.pipeline.schema import Pipeline


@dataclass(frozen=True, eq=False)
class CaptureRequest:
    """One job with everything its objects are made from.

    Attributes:
        fixed_headers: data sets of the MRI series, any order; pixel data is neither needed nor looked at.
        moving_headers: data sets of the functional series, likewise.
        zone: of the site's clocks; the objects' own dates and times are in it unless the MRI names another.
        software_version: of this program; stamped on the objects.
        page: the quality sheet as a picture, uint8 [row, column, 3], where one is to be written.

    Raises:
        CaptureInvalid: a slice names a source that is not among the headers.
        ValueError: pictures and grid differ in shape: a defect of the caller.
    """

    job: Job
    pipeline: Pipeline
    prepared: PreparedPair
    fused: FusedStack
    fixed_headers: Sequence[Dataset] = field(repr=False)
    moving_headers: Sequence[Dataset] = field(repr=False)
    zone: tzinfo
    software_version: str = fusionnode.__version__
    page: RgbStack | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        expected = (*self.prepared.grid.shape, 3)
        if self.fused.rgb.shape != expected or self.fused.rgb.dtype.name != "uint8":
            raise ValueError(f"pictures must be uint8 of shape {expected}, not {self.fused.rgb.shape}")
        if len(self.prepared.fixed_sources) != expected[0]:
            raise ValueError(f"{expected[0]} slices need as many sources, not {len(self.prepared.fixed_sources)}")
        if self.prepared.uptake is not None and self.prepared.uptake.shape != expected[:3]:
            raise ValueError(f"uptake must be of shape {expected[:3]}, not {self.prepared.uptake.shape}")
        for source in (*self.prepared.fixed_sources, *self.prepared.moving_sources):
            self.header_of(source)

    @property
    def identity(self) -> FusedIdentity:
        """The UIDs of all objects of the job."""
        return FusedIdentity(self.job.id)

    @property
    def head(self) -> Dataset:
        """The MRI data set that speaks for patient and study: the source of the first slice."""
        return self.header_of(self.prepared.fixed_sources[0])

    @property
    def moving_head(self) -> Dataset | None:
        """The data set that speaks for the functional series; None when it has no sources."""
        sources = self.prepared.moving_sources
        return self.header_of(sources[0]) if sources else None

    @property
    def moment(self) -> datetime:
        """The job's moment as the objects write it: in the time zone of the MRI, or else of the site."""
        return self.moment_of(self.head)

    def moment_of(self, header: Dataset) -> datetime:
        """The job's moment in the time zone of ``header``, or else of the site."""
        return find_local_moment(self.job.moment, read_text(header, "TimezoneOffsetFromUTC"), self.zone)

    @property
    def frames_differ(self) -> bool:
        """Whether the series live in different (or unnamed) frames of reference, so that their motion must be told."""
        fixed, moving = self.prepared.frame_of_reference_uid, self.prepared.moving_frame_of_reference_uid
        return not fixed or fixed != moving

    def header_of(self, source: SourceFrame) -> Dataset:
        """Return the data set ``source`` was read from.

        Raises:
            CaptureInvalid: it is not among the headers.
        """
        try:
            return self._headers[source.sop_instance_uid]
        except KeyError:
            raise CaptureInvalid(
                "A slice was made from an instance whose header was not handed over.",
                remedy="Read the whole generation of both series and start the job again.",
                sop_instance_uid=source.sop_instance_uid,
            ) from None

    @cached_property
    def _headers(self) -> dict[str, Dataset]:
        return {str(ds.SOPInstanceUID): ds for ds in (*self.fixed_headers, *self.moving_headers)}
