"""The UIDs of everything a job makes: derived, never drawn, so that a resend is the same object (middle)."""

from dataclasses import dataclass

from fusionnode.domain.uids import SeriesInstanceUID, SopInstanceUID, derive_uid


@dataclass(frozen=True)
class FusedIdentity:
    """Every UID of the objects of one job; a function of ``job_id`` alone."""

    job_id: str

    @property
    def series_uid(self) -> SeriesInstanceUID:
        """Series Instance UID of the fused series."""
        return SeriesInstanceUID(derive_uid("fused series", self.job_id))

    @property
    def registration_series_uid(self) -> SeriesInstanceUID:
        """Series Instance UID of the Spatial Registration object's own series."""
        return SeriesInstanceUID(derive_uid("registration series", self.job_id))

    @property
    def registration_uid(self) -> SopInstanceUID:
        """SOP Instance UID of the Spatial Registration object."""
        return SopInstanceUID(derive_uid("registration instance", self.job_id))

    @property
    def resampled_series_uid(self) -> SeriesInstanceUID:
        """Series Instance UID of the functional series on the grid of the MRI."""
        return SeriesInstanceUID(derive_uid("resampled series", self.job_id))

    @property
    def sheet_series_uid(self) -> SeriesInstanceUID:
        """Series Instance UID of the quality sheet."""
        return SeriesInstanceUID(derive_uid("sheet series", self.job_id))

    @property
    def sheet_uid(self) -> SopInstanceUID:
        """SOP Instance UID of the quality sheet."""
        return SopInstanceUID(derive_uid("sheet instance", self.job_id))

    @property
    def blending_series_uid(self) -> SeriesInstanceUID:
        """Series Instance UID of the blending presentation state."""
        return SeriesInstanceUID(derive_uid("blending series", self.job_id))

    @property
    def blending_uid(self) -> SopInstanceUID:
        """SOP Instance UID of the blending presentation state."""
        return SopInstanceUID(derive_uid("blending instance", self.job_id))

    @property
    def stack_uid(self) -> SopInstanceUID:
        """SOP Instance UID of the fused series as one multi-frame object."""
        return SopInstanceUID(derive_uid("fused stack", self.job_id))

    def resampled_uid(self, index: int) -> SopInstanceUID:
        """SOP Instance UID of slice ``index`` (from 0) of the functional series, or of its one multi-frame object."""
        return SopInstanceUID(derive_uid("resampled instance", self.job_id, str(index)))

    def slice_uid(self, index: int) -> SopInstanceUID:
        """SOP Instance UID of the fused image of slice ``index`` (from 0)."""
        return SopInstanceUID(derive_uid("fused instance", self.job_id, str(index)))


def derive_device_uid(model: str) -> str:
    """Return the Device UID of ``model`` (name@version): one for each version, the same at every site."""
    return derive_uid("device", model)


def derive_dimension_uid(sop_instance_uid: str) -> str:
    """Return the Dimension Organization UID of a multi-frame object."""
    return derive_uid("dimensions", sop_instance_uid)
