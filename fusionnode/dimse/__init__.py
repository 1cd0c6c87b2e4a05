"""Associations that this node opens: with whom, how they are made to be prompt, and why one cannot be had (edge)."""
