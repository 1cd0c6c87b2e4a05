"""Edge: what Alembic runs around the migrations; the connection and its transaction belong to the caller."""

from alembic import context

from fusionnode.index.tables import Table


def run_migrations() -> None:
    """Run the migrations over the connection that `fusionnode.index.migrate` put into the configuration."""
    # SQLite cannot alter a column in place; batch mode copies the table instead.
    context.configure(
        connection=context.config.attributes["connection"],
        target_metadata=Table.metadata,
        render_as_batch=True,
        compare_type=True,
    )
    context.run_migrations()


# Alembic executes this file with its context set; whoever merely imports it has none.
if hasattr(context, "config"):
    run_migrations()
