"""Kills processes at every named point and takes away what they need, and counts what became of every image."""
