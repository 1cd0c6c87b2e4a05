"""Middle: has a series stopped arriving, which series fit a pipeline, and which of them belong together (all pure)."""
