"""Why there is no association, as far as anybody can tell (edge)."""

import socket
import ssl
from contextlib import suppress

from pynetdicom.association import Association

from fusionnode.dimse.node import DicomNode, Patience


def explain_trouble(assoc: Association, node: DicomNode, patience: Patience) -> str:
    """Return in a few words why ``assoc`` was not established."""
    answer = assoc.acceptor.primitive
    if assoc.is_rejected and answer is not None:
        return f"association rejected: {answer.reason_str}"
    if node.tls is not None and (trouble := _explain_tls(node, node.tls, patience.connection_seconds)):
        return trouble
    return "aborted" if assoc.is_aborted and answer is not None else "no connection, or no answer"


def _explain_tls(node: DicomNode, context: ssl.SSLContext, seconds: float) -> str:
    """Shake hands once more to hear what is wrong, which pynetdicom does not tell; empty when that goes well."""
    try:
        with (
            socket.create_connection((node.host, node.port), timeout=seconds) as plain,
            context.wrap_socket(plain, server_hostname=node.host) as secured,
        ):
            # In TLS 1.3 a server that does not like our certificate says so after the handshake.
            secured.settimeout(min(seconds, 2.0))
            with suppress(TimeoutError):
                secured.recv(1)
    except ssl.SSLCertVerificationError as problem:
        return f"its certificate is not accepted: {problem.verify_message}"
    except ssl.SSLError as problem:
        return f"no TLS connection: {problem.reason or 'the handshake broke off'}"
    except OSError:
        return ""
    return ""
