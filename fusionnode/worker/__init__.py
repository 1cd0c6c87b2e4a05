"""Wiring: runs the steps of jobs, embedded in one process or as Celery workers; same task code, same ledger."""
