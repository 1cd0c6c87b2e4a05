"""The plot: the only place that knows the order of the chapters. Knows the edges as Protocols alone."""
