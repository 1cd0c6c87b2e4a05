"""Edge: the first schema of the ledger.

Revision 0001, the beginning.
"""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

_ORDINAL = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Make all tables, each after those it refers to."""
    _create_series()
    _create_generations()
    _create_instances()
    _create_conflicts()
    _create_rejections()
    _create_jobs()
    _create_deliveries()
    _create_consignments()
    _create_commitments()
    _create_discards()
    _create_events()


def downgrade() -> None:
    """Drop all tables, with everything in them."""
    work = ("events", "discards", "commitments", "consignments", "deliveries", "jobs", "rejected_series", "rejections")
    for table in (*work, "conflicts", "instances", "generations", "series"):
        op.drop_table(table)


def _create_series() -> None:
    op.create_table(
        "series",
        sa.Column("series_instance_uid", sa.Text(), nullable=False),
        sa.Column("study_instance_uid", sa.Text(), nullable=False),
        sa.Column("patient_id", sa.Text(), nullable=False),
        sa.Column("issuer", sa.Text(), nullable=False),
        sa.Column("birth_date", sa.Text(), nullable=False),
        sa.Column("sex", sa.Text(), nullable=False),
        sa.Column("authority", sa.Text(), nullable=False),
        sa.Column("generation", sa.Integer(), nullable=False),
        sa.Column("first_seen_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("last_seen_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("held", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("series_instance_uid", name="pk_series"),
    )
    op.create_index("ix_series_patient_id", "series", ["patient_id"], unique=False)
    op.create_index("ix_series_study_instance_uid", "series", ["study_instance_uid"], unique=False)


def _create_generations() -> None:
    op.create_table(
        "generations",
        sa.Column("series_instance_uid", sa.Text(), nullable=False),
        sa.Column("generation", sa.Integer(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("began_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["series_instance_uid"], ["series.series_instance_uid"], name="fk_generations_series_instance_uid"
        ),
        sa.PrimaryKeyConstraint("series_instance_uid", "generation", name="pk_generations"),
    )
    op.create_index("ix_generations_state", "generations", ["state"], unique=False)


def _create_instances() -> None:
    op.create_table(
        "instances",
        sa.Column("sop_instance_uid", sa.Text(), nullable=False),
        sa.Column("series_instance_uid", sa.Text(), nullable=False),
        sa.Column("generation", sa.Integer(), nullable=False),
        sa.Column("seen_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("sop_class_uid", sa.Text(), nullable=False),
        sa.Column("study_instance_uid", sa.Text(), nullable=False),
        sa.Column("frame_of_reference_uid", sa.Text(), nullable=False),
        sa.Column("modality", sa.Text(), nullable=False),
        sa.Column("patient_id", sa.Text(), nullable=False),
        sa.Column("issuer", sa.Text(), nullable=False),
        sa.Column("birth_date", sa.Text(), nullable=False),
        sa.Column("sex", sa.Text(), nullable=False),
        sa.Column("authority", sa.Text(), nullable=False),
        sa.Column("sha256", sa.Text(), nullable=False),
        sa.Column("path", sa.Text(), nullable=False),
        sa.Column("transfer_syntax_uid", sa.Text(), nullable=False),
        sa.Column("rows", sa.Integer(), nullable=False),
        sa.Column("columns", sa.Integer(), nullable=False),
        sa.Column("frames", sa.Integer(), nullable=False),
        sa.Column("instance_number", sa.Integer(), nullable=True),
        sa.Column("position_mm", sa.JSON(), nullable=True),
        sa.Column("orientation", sa.JSON(), nullable=True),
        sa.Column("pixel_spacing_mm", sa.JSON(), nullable=True),
        sa.Column("acquired_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("claimed_slices", sa.Integer(), nullable=False),
        sa.Column("places", sa.Integer(), nullable=False),
        sa.Column("attributes", sa.JSON(), nullable=False),
        sa.ForeignKeyConstraint(
            ["series_instance_uid"], ["series.series_instance_uid"], name="fk_instances_series_instance_uid"
        ),
        sa.PrimaryKeyConstraint("sop_instance_uid", name="pk_instances"),
    )
    op.create_index("ix_instances_series_instance_uid", "instances", ["series_instance_uid"], unique=False)
    op.create_index("ix_instances_frame_of_reference_uid", "instances", ["frame_of_reference_uid"], unique=False)


def _create_conflicts() -> None:
    op.create_table(
        "conflicts",
        sa.Column("series_instance_uid", sa.Text(), nullable=False),
        sa.Column("sop_instance_uid", sa.Text(), nullable=False),
        sa.Column("sha256", sa.Text(), nullable=False),
        sa.Column("generation", sa.Integer(), nullable=False),
        sa.Column("path", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("seen_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("series_instance_uid", "sop_instance_uid", "sha256", name="pk_conflicts"),
    )
    op.create_index("ix_conflicts_sop_instance_uid", "conflicts", ["sop_instance_uid"], unique=False)


def _create_rejections() -> None:
    op.create_table(
        "rejections",
        sa.Column("id", _ORDINAL, nullable=False),
        sa.Column("digest", sa.Text(), nullable=False),
        sa.Column("pipeline", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("decided_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_rejections"),
        sa.UniqueConstraint("digest", name="uq_rejections_digest"),
    )
    op.create_table(
        "rejected_series",
        sa.Column("rejection_id", _ORDINAL, nullable=False),
        sa.Column("ordinal", sa.Integer(), nullable=False),
        sa.Column("series_instance_uid", sa.Text(), nullable=False),
        sa.Column("generation", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(
            ["rejection_id"], ["rejections.id"], name="fk_rejected_series_rejection_id", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("rejection_id", "ordinal", name="pk_rejected_series"),
    )
    op.create_index("ix_rejected_series_series_instance_uid", "rejected_series", ["series_instance_uid"], unique=False)


def _create_jobs() -> None:
    op.create_table(
        "jobs",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("pipeline", sa.Text(), nullable=False),
        sa.Column("pipeline_version", sa.Text(), nullable=False),
        sa.Column("fixed_uid", sa.Text(), nullable=False),
        sa.Column("fixed_generation", sa.Integer(), nullable=False),
        sa.Column("moving_uid", sa.Text(), nullable=False),
        sa.Column("moving_generation", sa.Integer(), nullable=False),
        sa.Column("shared_frame", sa.Boolean(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("moment", sa.DateTime(timezone=True), nullable=False),
        sa.Column("fence", sa.Integer(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("supersedes", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("error", sa.Text(), nullable=False),
        sa.Column("not_before", sa.DateTime(timezone=True), nullable=True),
        sa.Column("lease_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("worker", sa.Text(), nullable=False),
        sa.Column("held", sa.Boolean(), nullable=False),
        sa.Column("changed_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("discarded_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_jobs"),
    )
    op.create_index("ix_jobs_fixed_uid", "jobs", ["fixed_uid", "moving_uid"], unique=False)
    op.create_index("ix_jobs_state", "jobs", ["state", "moment"], unique=False)


def _create_deliveries() -> None:
    op.create_table(
        "deliveries",
        sa.Column("id", _ORDINAL, nullable=False),
        sa.Column("job_id", sa.Text(), nullable=False),
        sa.Column("destination", sa.Text(), nullable=False),
        sa.Column("sop_class_uid", sa.Text(), nullable=False),
        sa.Column("sop_instance_uid", sa.Text(), nullable=False),
        sa.Column("path", sa.Text(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("refusals", sa.Integer(), nullable=False),
        sa.Column("dead", sa.Boolean(), nullable=False),
        sa.Column("last_status", sa.Text(), nullable=False),
        sa.Column("last_tried_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("stored_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("committed_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(["job_id"], ["jobs.id"], name="fk_deliveries_job_id"),
        sa.PrimaryKeyConstraint("id", name="pk_deliveries"),
        sa.UniqueConstraint("job_id", "destination", "sop_instance_uid", name="uq_deliveries_job_id"),
    )


def _create_consignments() -> None:
    op.create_table(
        "consignments",
        sa.Column("job_id", sa.Text(), nullable=False),
        sa.Column("destination", sa.Text(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("requests", sa.Integer(), nullable=False),
        sa.Column("not_before", sa.DateTime(timezone=True), nullable=True),
        sa.Column("dead", sa.Boolean(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("error", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["job_id"], ["jobs.id"], name="fk_consignments_job_id"),
        sa.PrimaryKeyConstraint("job_id", "destination", name="pk_consignments"),
    )


def _create_commitments() -> None:
    op.create_table(
        "commitments",
        sa.Column("transaction_uid", sa.Text(), nullable=False),
        sa.Column("job_id", sa.Text(), nullable=False),
        sa.Column("destination", sa.Text(), nullable=False),
        sa.Column("asked_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["job_id"], ["jobs.id"], name="fk_commitments_job_id"),
        sa.PrimaryKeyConstraint("transaction_uid", name="pk_commitments"),
    )
    op.create_index("ix_commitments_job_id", "commitments", ["job_id", "destination"], unique=False)


def _create_discards() -> None:
    op.create_table(
        "discards",
        sa.Column("path", sa.Text(), nullable=False),
        sa.Column("decided_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("path", name="pk_discards"),
    )


def _create_events() -> None:
    op.create_table(
        "events",
        sa.Column("id", _ORDINAL, nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("what", sa.Text(), nullable=False),
        sa.Column("detail", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_events"),
    )
    op.create_index("ix_events_subject", "events", ["subject"], unique=False)
