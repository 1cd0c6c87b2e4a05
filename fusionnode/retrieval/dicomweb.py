"""An archive that speaks DICOMweb: QIDO-RS and WADO-RS (PS3.18 section 10) (edge)."""

import io
import logging
import ssl
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

import requests
from dicomweb_client.web import DICOMwebClient
from pydicom import Dataset, FileDataset
from pydicom.errors import InvalidDicomError

from fusionnode.dicomweb import name_trouble, open_session
from fusionnode.errors import ArchiveUnreachable, Refused
from fusionnode.malformed import MALFORMED
from fusionnode.retrieval.archive import Inbox, name_cut
from fusionnode.retrieval.findings import (
    FoundInstance,
    FoundSeries,
    FoundStudy,
    fits,
    read_instance,
    read_series,
    read_study,
    unite_studies,
)
from fusionnode.retrieval.keys import NOBODY, Keys, list_study_keys, make_instance_keys, make_series_keys
from fusionnode.retrieval.wishes import Wish

logger = logging.getLogger(__name__)

PAGE = 200
"""How many answers are asked for at once."""

_CONNECTION_SECONDS, _ANSWER_SECONDS = 15.0, 300.0
_MORE = "additional results"
_AS_STORED = (("application/dicom", "*"),)

Value = TypeVar("Value")


class WebArchive:
    """Asks page by page; fulfils `fusionnode.retrieval.archive.Archive`.

    Args:
        name: of the archive in the site file.
        url: of the DICOMweb service, such as ``https://pacs.example/dicom-web``.
        tls: whom to trust, for ``https``.
        access: user and password for HTTP Basic authentication, or None. Never in a log line or an error.
    """

    def __init__(
        self, name: str, url: str, tls: ssl.SSLContext | None = None, access: tuple[str, str] | None = None
    ) -> None:
        self._name = name
        self._url = url
        session = open_session(tls, access)
        session.hooks["response"].append(self._hear_warning)
        self._has_more = False
        self._client = DICOMwebClient(url, session=session, timeout=(_CONNECTION_SECONDS, _ANSWER_SECONDS))
        # Whoever calls decides when to ask again.
        self._client.set_http_retry_params(retry=False)

    @property
    def name(self) -> str:
        """The archive's name in the site file."""
        return self._name

    def probe(self) -> str:
        """Ask for a study that nobody has, and return that it answered; raises as `find_studies` does."""
        self._list_pages(self._client.search_for_studies, NOBODY, read_study)
        return "QIDO-RS"

    def find_studies(self, wish: Wish) -> list[FoundStudy]:
        """Return the studies that fit the wish, each once.

        Raises:
            ArchiveUnreachable: it did not answer, or not as a DICOMweb service would.
        """
        search = self._client.search_for_studies
        found = [one for keys in list_study_keys(wish) for one in self._list_pages(search, keys, read_study)]
        return unite_studies(study for study in found if fits(wish, study))

    def find_series(self, study_instance_uid: str) -> list[FoundSeries]:
        """Return the series of a study; raises as `find_studies` does."""

        def search(**asked: Any) -> list[dict[str, Any]]:
            return list(self._client.search_for_series(study_instance_uid, **asked))

        keys = {**make_series_keys(study_instance_uid), "StudyInstanceUID": ""}
        return self._list_pages(search, keys, lambda one: read_series(one, study_instance_uid))

    def find_instances(self, series: FoundSeries) -> list[FoundInstance]:
        """Return the instances of a series; raises as `find_studies` does."""
        uids = series.study_instance_uid, series.series_instance_uid

        def search(**asked: Any) -> list[dict[str, Any]]:
            return list(self._client.search_for_instances(*uids, **asked))

        keys = {**make_instance_keys(series), "StudyInstanceUID": "", "SeriesInstanceUID": ""}
        return self._list_pages(search, keys, lambda one: read_instance(one, uids[1]))

    def fetch(self, series: FoundSeries, part: Sequence[FoundInstance], inbox: Inbox, *, whole: bool) -> int:
        """Bring ``part`` of a series, or all of it, into the inbox; returns how many instances came.

        Raises:
            ArchiveUnreachable: it did not answer, or broke off.
            SpoolFull: there is no room.
        """
        came = 0
        for ds in self._iterate(series, part, whole=whole):
            if not isinstance(ds, FileDataset) or not isinstance(ds.buffer, io.BytesIO):
                raise TypeError("dicomweb-client no longer gives the bytes that it read")
            # The bytes as they came; what pydicom would write anew need not be the same.
            came += self._keep(io.BytesIO(ds.buffer.getvalue()), inbox)
        return came

    def _keep(self, file: io.BytesIO, inbox: Inbox) -> bool:
        try:
            inbox.keep_file(file, self.name.upper()[:16])
        except Refused as refusal:
            logger.warning("an instance that was fetched cannot be kept: %s", refusal)
            return False
        return True

    def _iterate(self, series: FoundSeries, part: Sequence[FoundInstance], *, whole: bool) -> Iterator[Dataset]:
        uids = series.study_instance_uid, series.series_instance_uid
        with self._told_plainly("WADO-RS"):
            if whole:
                yield from self._client.iter_series(*uids, media_types=_AS_STORED)
                return
            for one in part:
                yield self._client.retrieve_instance(*uids, one.sop_instance_uid, media_types=_AS_STORED)

    def _list_pages(
        self, search: Callable[..., list[dict[str, Any]]], keys: Keys, read: Callable[[Dataset], Value | None]
    ) -> list[Value]:
        """Ask until a page brings nothing new: some servers give fewer than asked for, some heed no offset."""
        asked: dict[str, Any] = {
            "search_filters": {keyword: value for keyword, value in keys.items() if value},
            "fields": [keyword for keyword, value in keys.items() if not value],
        }
        found: dict[Value, None] = {}
        offset = 0
        while True:
            with self._told_plainly("QIDO-RS"):
                page = search(limit=PAGE, offset=offset, **asked)
                values = [value for one in page if (value := read(Dataset.from_json(one))) is not None]
            if not set(values) - found.keys():
                if self._has_more:
                    raise name_cut(self.name, f"{self.name} ({self._url})", "QIDO-RS", len(found))
                return list(found)
            found |= dict.fromkeys(values)
            offset += len(page)

    def _hear_warning(self, response: requests.Response, **_: object) -> None:
        """Note whether the server has more answers than it gave (PS3.18 section 8.3.4.4)."""
        self._has_more = _MORE in response.headers.get("Warning", "")

    @contextmanager
    def _told_plainly(self, what: str) -> Iterator[None]:
        try:
            yield
        except (requests.RequestException, InvalidDicomError, *MALFORMED) as trouble:
            # The text of an HTTP error may hold the query, and with it a patient.
            status = getattr(getattr(trouble, "response", None), "status_code", None)
            why = f"{what} was answered with HTTP status {status}" if status else f"{what}: {name_trouble(trouble)}"
            raise ArchiveUnreachable(
                f"Archive {self.name} ({self._url}): {why}.",
                remedy="Check its address and access rights.",
                archive=self.name,
                why=why,
            ) from None
