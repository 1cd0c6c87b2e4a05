"""Vocabulary: the values that cross chapter boundaries. numpy and the standard library only, no I/O."""
