"""Edge: the history of the ledger's schema, run by Alembic through `fusionnode.index.migrate`."""
