"""Every error fusionnode raises on purpose, as one tree, by what happens next.

::

    FusionNodeError
    ├── Refused           the input is not acceptable; a human should know why; never retried
    │   ├── DatasetUnreadable, UidMalformed, SeriesUnsupported, SeriesMixed, GeometryIrregular, UnitUnusable,
    │   │     ContrastMissing
    │   ├── PairingRefused, RegistrationImplausible, OverlapInsufficient
    │   ├── CaptureInvalid
    │   ├── TransitionForbidden, JobUnknown, SeriesUnknown, OutputOccupied, BackupIncomplete
    │   └── PicturesUnusable, ListInvalid
    ├── Unavailable       the world is not ready; retried with back-off
    │   ├── SpoolFull, SpoolFileMissing, SpoolUnreadable, BackupFailed
    │   ├── DecoderUnavailable
    │   ├── LeaseLost, LedgerUnavailable, StepOverdue
    │   ├── DestinationUnreachable, DeliveryIncomplete, DeliveryRefused, CommitmentRefused,
    │   │     DeliveryUncommitted
    │   └── ArchiveUnreachable, RetrievalIncomplete
    └── Misconfigured     stop at start-up and say what to change
        ├── SettingsInvalid, PipelineInvalid
        └── ModelUnknown, ModelUnavailable (WeightsMissing, WeightsAltered), LedgerOutdated

Anything else that escapes is a defect: the job fails loudly with its traceback.
Facts travel as attributes (``error.facts``), so a report can print them and a test can check them.
"""

import errno
import traceback

OUT_OF_SPACE = (errno.ENOSPC, errno.EDQUOT)
"""The numbers of operating system errors that mean `SpoolFull`."""


def name_spool_trouble(problem: OSError, words: str, remedy: str, **facts: object) -> "SpoolFull | SpoolUnreadable":
    """Return the error for what the spool's disk answered; ``words`` say what could not be done."""
    kind = SpoolFull if problem.errno in OUT_OF_SPACE else SpoolUnreadable
    return kind(f"{words}: {problem.strerror}.", remedy=remedy, **facts)


def format_frames(error: BaseException) -> str:
    """Return where ``error`` came from, without its text: that of a foreign error may quote a patient's data."""
    return f"{type(error).__name__}\n" + "".join(traceback.format_tb(error.__traceback__))


class FusionNodeError(Exception):
    """Root of the tree. ``facts`` holds what was found where; ``remedy`` says what to do about it."""

    def __init__(self, message: str, *, remedy: str = "", **facts: object) -> None:
        super().__init__(message)
        self.message = message
        self.remedy = remedy
        self.facts = facts

    def __str__(self) -> str:
        return f"{self.message} {self.remedy}".strip()

    @property
    def code(self) -> str:
        """The class name: stable, searchable, safe to store and to show."""
        return type(self).__name__


class Refused(FusionNodeError):
    """The input is not acceptable. Never retried; the reason is shown to a human."""


class DatasetUnreadable(Refused):
    """A file is no DICOM data set, is truncated, or lacks an attribute without which it cannot be used."""


class UidMalformed(Refused):
    """A UID breaks PS3.5 section 9.1."""


class SeriesUnsupported(Refused):
    """A series is of a kind that cannot become a volume (localizer, planar NM, mosaic, screenshot, ...)."""


class SeriesMixed(Refused):
    """A series holds several volumes (orientations, echoes, time slots) and no rule chooses one."""


class GeometryIrregular(Refused):
    """Slices are missing, duplicated, tilted or unevenly spaced, so they do not form a grid."""


class UnitUnusable(Refused):
    """Voxel values cannot be brought to a stated unit."""


class ContrastMissing(Refused):
    """A volume holds no two values that could be told apart in a picture."""


class RegistrationImplausible(Refused):
    """The estimated motion is not one a head can make between two scans, or its quality is too poor."""


class OverlapInsufficient(Refused):
    """The two volumes do not cover enough common anatomy."""


class PairingRefused(Refused):
    """The pairing rules would not put two series given by hand together."""


class CaptureInvalid(Refused):
    """An object about to leave broke a rule of the Standard or of this project; nothing was sent."""


class TransitionForbidden(Refused):
    """A job was asked to go where the transition table has no arrow."""


class JobUnknown(Refused):
    """No job has this id."""


class SeriesUnknown(Refused):
    """No series or study has this UID, or the series never had this generation."""


class OutputOccupied(Refused):
    """The output folder holds something already, and nothing is ever overwritten."""


class BackupIncomplete(Refused):
    """A folder to restore from holds no whole backup."""


class PicturesUnusable(Refused):
    """A folder of pictures is not laid out in pairs, or one of its pictures cannot be measured."""


class ListInvalid(Refused):
    """A patient list is not the table it should be, or a date range is none."""


class Unavailable(FusionNodeError):
    """The world is not ready. Retried with back-off."""


class SpoolFull(Unavailable):
    """The spool's file system is full or has less free space than is kept in reserve, or a quota is reached."""


class SpoolFileMissing(Unavailable):
    """The ledger names a file that is not in the spool (a shared file system may be lagging)."""


class SpoolUnreadable(Unavailable):
    """Reading from or writing to the spool failed in a way that may pass: a stale handle, an I/O error, no memory."""


class BackupFailed(Unavailable):
    """The disk a backup is written to, or put back from, is full or fails."""


class DecoderUnavailable(Unavailable):
    """The process that decodes compressed pixels could not be started, or something other than a frame ended it."""


class LeaseLost(Unavailable):
    """Another worker took this step over; whatever this one computed must not be kept."""


class StepOverdue(Unavailable):
    """A step did not end within the time it has, and was ended with the process it ran in."""


class LedgerUnavailable(Unavailable):
    """The database did not answer, hung up, or stayed locked for too long."""


class DestinationUnreachable(Unavailable):
    """A destination refused, aborted or never answered the association."""


class DeliveryIncomplete(Unavailable):
    """A destination took some instances and refused others; only the others are tried again."""


class ArchiveUnreachable(Unavailable):
    """An archive refused, aborted or never answered an association, a query or a retrieval."""


class RetrievalIncomplete(Unavailable):
    """An archive handed over fewer instances than it says it has; what came is kept."""


class CommitmentRefused(Unavailable):
    """A destination answers, but does not take a request for storage commitment."""


class DeliveryRefused(Unavailable):
    """A destination refuses some instances for good; they are given up, and everything else it took."""


class DeliveryUncommitted(Unavailable):
    """A destination took everything and never committed to it."""


class Misconfigured(FusionNodeError):
    """The installation is wrong. Stops at start-up and says what to change."""


class SettingsInvalid(Misconfigured):
    """The site file or an environment variable does not validate."""


class PipelineInvalid(Misconfigured):
    """One or more pipeline files do not validate; ``facts['mistakes']`` lists every one."""


class ModelUnknown(Misconfigured):
    """No fuser or network has this name."""


class ModelUnavailable(Misconfigured):
    """A network is known but cannot run: its trained weights are missing, broken or another network's."""


class WeightsMissing(ModelUnavailable):
    """The weight file of a network is not where it should be."""


class WeightsAltered(ModelUnavailable):
    """A weight file is not, byte for byte, the one its card speaks of."""


class LedgerOutdated(Misconfigured):
    """The database schema is older or newer than this version expects."""
