"""Certificates for tests of TLS, made by openssl: an authority, and what it vouches for."""

import subprocess
from dataclasses import dataclass
from pathlib import Path

from tests.support.tools import require_tool


@dataclass(frozen=True)
class Certificate:
    """A certificate and its private key, as PEM files."""

    certificate: Path
    key: Path


@dataclass(frozen=True)
class Authority:
    """An authority with a key of its own; nobody else's certificates pass for its."""

    name: str
    own: Certificate
    folder: Path

    def issue(self, name: str, host: str = "IP:127.0.0.1", days: int = 2) -> Certificate:
        """Make a certificate for ``host`` (as a subjectAltName); with negative ``days`` it has run out already."""
        made = Certificate(self.folder / f"{name}.pem", self.folder / f"{name}.key")
        request, extension = self.folder / f"{name}.csr", self.folder / f"{name}.ext"
        extension.write_text(f"subjectAltName={host}\n")
        _openssl("req", "-new", *_NEW_KEY, "-keyout", made.key, "-out", request, "-subj", f"/CN={name}")
        signing = ["-CA", self.own.certificate, "-CAkey", self.own.key, "-CAcreateserial", "-extfile", extension]
        _openssl("x509", "-req", "-in", request, "-out", made.certificate, *signing, "-days", days)
        return made


_NEW_KEY = ("-newkey", "rsa:2048", "-nodes")


def make_authority(folder: Path, name: str = "ca") -> Authority:
    """Make an authority whose files lie in ``folder``."""
    folder.mkdir(parents=True, exist_ok=True)
    own = Certificate(folder / f"{name}.pem", folder / f"{name}.key")
    subject = ["-subj", f"/CN={name}", "-days", "2"]
    _openssl("req", "-x509", *_NEW_KEY, "-keyout", own.key, "-out", own.certificate, *subject)
    return Authority(name, own, folder)


def _openssl(*arguments: object) -> None:
    command = [require_tool("openssl"), *(str(argument) for argument in arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
