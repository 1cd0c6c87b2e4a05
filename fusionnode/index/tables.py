"""Edge: the tables of the ledger. Patient identity is in here for matching, and must never reach a log."""

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import JSON, BigInteger, DateTime, Dialect, ForeignKey, Index, Integer, MetaData, Text, UniqueConstraint
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column
from sqlalchemy.types import TypeDecorator


class UtcDateTime(TypeDecorator[datetime]):
    """A moment: aware on both sides, UTC in the table; SQLite keeps it as text that sorts."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Return the moment in UTC; a moment without a zone is a defect of the caller."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("The ledger takes moments with a time zone only.")
        return value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Return the moment as aware UTC."""
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


class PlainText(TypeDecorator[str]):
    """Text that any database takes: no NUL and no lone surrogate can make a transaction fail for ever."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:
        """Return the text without what UTF-8 or PostgreSQL cannot hold."""
        return None if value is None else str(value).replace("\0", "").encode("utf-8", "replace").decode()


class Table(DeclarativeBase):
    """What all tables share."""

    metadata = MetaData(
        naming_convention={
            "pk": "pk_%(table_name)s",
            "fk": "fk_%(table_name)s_%(column_0_name)s",
            "uq": "uq_%(table_name)s_%(column_0_name)s",
            "ix": "ix_%(table_name)s_%(column_0_name)s",
        }
    )
    type_annotation_map = {  # noqa: RUF012 - SQLAlchemy reads it from the class
        str: PlainText,
        datetime: UtcDateTime,
        dict[str, Any]: JSON(none_as_null=True),
        list[Any]: JSON(none_as_null=True),
    }


# SQLite numbers rows by itself only where the type is exactly INTEGER.
_Ordinal = BigInteger().with_variant(Integer, "sqlite")


class SeriesRow(Table):
    """A series: what all its instances must agree on, and its current generation."""

    __tablename__ = "series"

    series_instance_uid: Mapped[str] = mapped_column(primary_key=True)
    study_instance_uid: Mapped[str] = mapped_column(index=True)
    patient_id: Mapped[str] = mapped_column(index=True)
    issuer: Mapped[str]
    birth_date: Mapped[str]
    sex: Mapped[str]
    authority: Mapped[str]
    generation: Mapped[int]
    first_seen_at: Mapped[datetime]
    last_seen_at: Mapped[datetime]
    held: Mapped[bool]


class GenerationRow(Table):
    """One generation of a series and its state; an earlier one is never rewritten."""

    __tablename__ = "generations"
    __table_args__ = (Index(None, "state"),)

    series_instance_uid: Mapped[str] = mapped_column(ForeignKey("series.series_instance_uid"), primary_key=True)
    generation: Mapped[int] = mapped_column(primary_key=True)
    state: Mapped[str]
    reason: Mapped[str]
    began_at: Mapped[datetime]


class InstanceRow(Table):
    """The header of one indexed instance, and the generation it arrived in."""

    __tablename__ = "instances"

    sop_instance_uid: Mapped[str] = mapped_column(primary_key=True)
    series_instance_uid: Mapped[str] = mapped_column(ForeignKey("series.series_instance_uid"), index=True)
    generation: Mapped[int]
    seen_at: Mapped[datetime]
    sop_class_uid: Mapped[str]
    study_instance_uid: Mapped[str]
    frame_of_reference_uid: Mapped[str] = mapped_column(index=True)
    modality: Mapped[str]
    patient_id: Mapped[str]
    issuer: Mapped[str]
    birth_date: Mapped[str]
    sex: Mapped[str]
    authority: Mapped[str]
    sha256: Mapped[str]
    path: Mapped[str]
    transfer_syntax_uid: Mapped[str]
    rows: Mapped[int]
    columns: Mapped[int]
    frames: Mapped[int]
    instance_number: Mapped[int | None]
    position_mm: Mapped[list[Any] | None]
    orientation: Mapped[list[Any] | None]
    pixel_spacing_mm: Mapped[list[Any] | None]
    acquired_at: Mapped[datetime | None]
    claimed_slices: Mapped[int]
    places: Mapped[int]
    attributes: Mapped[dict[str, Any]]


class ConflictRow(Table):
    """An instance that contradicts an earlier one, once for every series it touches.

    ``series_instance_uid`` is no foreign key: the series it claims may not have begun yet.
    """

    __tablename__ = "conflicts"
    __table_args__ = (Index(None, "sop_instance_uid"),)

    series_instance_uid: Mapped[str] = mapped_column(primary_key=True)
    sop_instance_uid: Mapped[str] = mapped_column(primary_key=True)
    sha256: Mapped[str] = mapped_column(primary_key=True)
    generation: Mapped[int]
    path: Mapped[str]
    reason: Mapped[str]
    seen_at: Mapped[datetime]


class RejectionRow(Table):
    """Why series were not paired. ``digest`` is over everything said, so that the same is kept once."""

    __tablename__ = "rejections"
    __table_args__ = (UniqueConstraint("digest"),)

    id: Mapped[int] = mapped_column(_Ordinal, primary_key=True)
    digest: Mapped[str]
    pipeline: Mapped[str]
    reason: Mapped[str]
    decided_at: Mapped[datetime]


class RejectedSeriesRow(Table):
    """One series that a rejection is about; ``ordinal`` keeps their order."""

    __tablename__ = "rejected_series"

    rejection_id: Mapped[int] = mapped_column(ForeignKey("rejections.id", ondelete="CASCADE"), primary_key=True)
    ordinal: Mapped[int] = mapped_column(primary_key=True)
    series_instance_uid: Mapped[str] = mapped_column(index=True)
    generation: Mapped[int]


class JobRow(Table):
    """A job, its fence and its lease."""

    __tablename__ = "jobs"
    __table_args__ = (Index(None, "state", "moment"), Index(None, "fixed_uid", "moving_uid"))

    id: Mapped[str] = mapped_column(primary_key=True)
    pipeline: Mapped[str]
    pipeline_version: Mapped[str]
    fixed_uid: Mapped[str]
    fixed_generation: Mapped[int]
    moving_uid: Mapped[str]
    moving_generation: Mapped[int]
    shared_frame: Mapped[bool]
    state: Mapped[str]
    moment: Mapped[datetime]
    fence: Mapped[int]
    attempts: Mapped[int]
    supersedes: Mapped[str]
    reason: Mapped[str]
    error: Mapped[str]
    not_before: Mapped[datetime | None]
    lease_until: Mapped[datetime | None]
    worker: Mapped[str]
    held: Mapped[bool]
    changed_at: Mapped[datetime]
    discarded_at: Mapped[datetime | None]


class DeliveryRow(Table):
    """One instance owed to one destination; ``id`` keeps the order in which they were published."""

    __tablename__ = "deliveries"
    __table_args__ = (UniqueConstraint("job_id", "destination", "sop_instance_uid"),)

    id: Mapped[int] = mapped_column(_Ordinal, primary_key=True)
    job_id: Mapped[str] = mapped_column(ForeignKey("jobs.id"))
    destination: Mapped[str]
    sop_class_uid: Mapped[str]
    sop_instance_uid: Mapped[str]
    path: Mapped[str]
    attempts: Mapped[int]
    refusals: Mapped[int]
    dead: Mapped[bool]
    last_status: Mapped[str]
    last_tried_at: Mapped[datetime | None]
    stored_at: Mapped[datetime | None]
    committed_at: Mapped[datetime | None]


class ConsignmentRow(Table):
    """One job and one of its destinations: how often it was tried, and when it is gone on with."""

    __tablename__ = "consignments"

    job_id: Mapped[str] = mapped_column(ForeignKey("jobs.id"), primary_key=True)
    destination: Mapped[str] = mapped_column(primary_key=True)
    attempts: Mapped[int]
    requests: Mapped[int]
    not_before: Mapped[datetime | None]
    dead: Mapped[bool]
    reason: Mapped[str]
    error: Mapped[str]


class CommitmentRow(Table):
    """A storage commitment that was asked for and whose report still counts."""

    __tablename__ = "commitments"
    __table_args__ = (Index(None, "job_id", "destination"),)

    transaction_uid: Mapped[str] = mapped_column(primary_key=True)
    job_id: Mapped[str] = mapped_column(ForeignKey("jobs.id"))
    destination: Mapped[str]
    asked_at: Mapped[datetime]


class DiscardRow(Table):
    """A file or folder that was given up for deletion and may still lie at ``path``, relative to the spool's root.

    Who takes the row away decides: the housekeeping, once it moved the file out of sight, or whoever claims that path
    again before.
    """

    __tablename__ = "discards"

    path: Mapped[str] = mapped_column(primary_key=True)
    decided_at: Mapped[datetime]


class EventRow(Table):
    """What happened to whom: appended to, never changed. ``subject`` is a job id or a series UID."""

    __tablename__ = "events"

    id: Mapped[int] = mapped_column(_Ordinal, primary_key=True)
    at: Mapped[datetime]
    subject: Mapped[str] = mapped_column(index=True)
    what: Mapped[str]
    detail: Mapped[str]
