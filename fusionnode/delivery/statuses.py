"""What an answer means for the instance it is about (edge)."""

from fusionnode.flow.ports import Delivery, DeliveryOutcome

NO_PRESENTATION_CONTEXT = "no-presentation-context"
NOT_ENCODABLE = "not-encodable"
NOT_ACCOUNTED_FOR = "not-accounted-for"
FILE_MISSING = "file-missing"
FILE_MISTAKEN = "file-holds-another-instance"
FILE_UNREADABLE = "file-unreadable"

_CLASS_NOT_SUPPORTED = "0122"
_OF_THE_DATA_SET = ("A9", "C")
"""Data Set does not match SOP Class, and Cannot understand (PS3.4 table B.2-1, PS3.18 table I.2-2)."""


def judge_status(delivery: Delivery, status: str) -> DeliveryOutcome:
    """Return what became of ``delivery`` by its status: four hexadecimal digits, or one of the words above.

    Success (0000) and the warnings (Bxxx, PS3.4 section B.2.3) mean that the destination stored it. Final is what
    speaks of the instance itself; any other failure speaks of the moment.
    """
    stored = status == "0000" or status.startswith("B")
    final = status in (_CLASS_NOT_SUPPORTED, NO_PRESENTATION_CONTEXT, NOT_ENCODABLE)
    return DeliveryOutcome(delivery, stored, status, final or status.startswith(_OF_THE_DATA_SET))
