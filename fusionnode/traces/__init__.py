"""Traces: an edge chapter. What happened, told to auditors, to monitoring and to whoever asks how the node is."""
