"""Wiring: the main job on the bundled samples, from scanner to PACS, with a picture at the end."""
