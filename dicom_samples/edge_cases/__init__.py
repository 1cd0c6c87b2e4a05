"""Odd studies of the sample head, one oddity each, made from the committed samples when they are needed."""
