"""Feeds the listener and the header reader what no scanner sends."""
