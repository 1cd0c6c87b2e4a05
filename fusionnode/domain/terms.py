"""The closed lists of words the other values are made of."""

from enum import StrEnum

MANUFACTURER = "fusionnode"
"""Manufacturer and Manufacturer's Model Name of every object made here."""

ON_MRI_GRID = "ON_MRI_GRID"
"""The last value of Image Type of a resampled functional series, by which it is told from what a scanner made."""


class Role(StrEnum):
    """The part a series plays in a pair: the MRI stays fixed, the functional series moves onto it."""

    FIXED = "fixed"
    MOVING = "moving"


class Unit(StrEnum):
    """What a voxel value means after rescaling (PS3.3 C.8.9.1 Units, extended by SUV)."""

    ARBITRARY = "arbitrary"
    BQML = "BQML"
    SUVBW = "SUVbw"
    CNTS = "CNTS"
    PROPCPS = "PROPCPS"


class SeriesState(StrEnum):
    """Where a series stands on its way in; late slices reopen it under the next generation.

    Of one that is DISCARDED only the name and its history are left; its files were deleted on purpose.
    """

    RECEIVING = "receiving"
    CANDIDATE = "candidate"
    COMPLETE = "complete"
    REOPENED = "reopened"
    QUARANTINED = "quarantined"
    IGNORED = "ignored"
    DISCARDED = "discarded"


UNSETTLED = frozenset({SeriesState.RECEIVING, SeriesState.CANDIDATE, SeriesState.REOPENED})
"""The states of a series that is still on its way; the others are closed."""


class Step(StrEnum):
    """The pieces of work of a job, each also the name of a queue; COMMIT is done by who sends."""

    PREPARE = "prepare"
    FUSE = "fuse"
    SEND = "send"
    COMMIT = "commit"
