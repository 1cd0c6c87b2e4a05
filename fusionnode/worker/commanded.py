"""What a person does to a job by hand, for the audit trail: the verb of the command line, and how it ended."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from fusionnode.errors import FusionNodeError
from fusionnode.settings import Settings
from fusionnode.wiring import build_watcher


@contextmanager
def commanded(settings: Settings, verb: str, subject: str, facts: Mapping[str, str] | None = None) -> Iterator[None]:
    """Record that somebody had ``verb`` done to a job or series (its id), or to all, once the block ended, well or not.

    ``subject`` is the folder that was written to or read, where it is all.

    Raises:
        SettingsInvalid: the audit trail cannot be kept, and nothing was done.
    """
    watcher = build_watcher(settings, "command")
    trouble = "unfinished"
    try:
        yield
        trouble = ""
    except FusionNodeError as error:
        trouble = error.code
        raise
    finally:
        watcher.command_given(verb, subject, facts or {}, trouble)
        watcher.trail.close()
