"""Vocabulary: what a pipeline file may say (strict, frozen) and how its text becomes a `Pipeline`."""
