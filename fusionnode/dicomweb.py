"""How a DICOMweb server is reached: by what the site file says of it and nothing else (edge)."""

import ssl
from typing import Any

from requests import Session
from requests.adapters import HTTPAdapter


def open_session(tls: ssl.SSLContext | None = None, access: tuple[str, str] | None = None) -> Session:
    """Return a session that takes neither a proxy nor a password nor an authority from the environment, and no detours.

    Args:
        tls: whom to trust and what to show, for ``https``.
        access: user and password for HTTP Basic authentication.
    """
    session = Session()
    session.trust_env = False
    session.max_redirects = 0
    session.auth = access
    if tls is not None:
        session.mount("https://", _OwnTrust(tls))
    return session


def name_trouble(trouble: BaseException) -> str:
    """Say what was wrong with the server's certificate, or else the kind of error alone: its text may hold secrets."""
    cause: BaseException | None = trouble
    while cause is not None:
        if isinstance(cause, ssl.SSLCertVerificationError):
            return f"its certificate is not accepted: {cause.verify_message}"
        cause = cause.__cause__ or cause.__context__
    return type(trouble).__name__


class _OwnTrust(HTTPAdapter):
    """Verifies the server by one SSL context and nothing else; requests would add a list of public authorities."""

    def __init__(self, context: ssl.SSLContext) -> None:
        self._context = context
        super().__init__()

    def init_poolmanager(self, *arguments: Any, **options: Any) -> None:
        """Make connections with our context, which also says whether the host name is checked."""
        checked = None if self._context.check_hostname else False
        super().init_poolmanager(*arguments, ssl_context=self._context, assert_hostname=checked, **options)

    def cert_verify(self, conn: Any, url: str, verify: Any, cert: Any) -> None:
        """Add nothing: the context knows whom to trust and what to show."""
