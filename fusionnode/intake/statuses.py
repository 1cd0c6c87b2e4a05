"""The DIMSE statuses this node answers with, by name (edge)."""

from enum import IntEnum


class Status(IntEnum):
    """Answers to C-ECHO, C-STORE and N-EVENT-REPORT (PS3.7 annex C, PS3.4 table B.2-1)."""

    SUCCESS = 0x0000
    PROCESSING_FAILURE = 0x0110
    INVALID_ARGUMENT = 0x0115
    RESOURCE_LIMITATION = 0x0213
    OUT_OF_RESOURCES = 0xA700
    DATASET_DOES_NOT_MATCH = 0xA900
    CANNOT_UNDERSTAND = 0xC000
