"""Wiring: many studies at once, fetched from an archive or a folder tree and brought to a verdict for each pair."""
