"""Fusion (middle): two stacks of slices into one, and its colours. torch lives here, save in `cards` and `colour`."""
