"""A DICOM node that this node calls, and how long it is waited for (edge)."""

import ssl
from abc import ABC, abstractmethod
from dataclasses import dataclass

from fusionnode.errors import Unavailable


@dataclass(frozen=True)
class DicomNode(ABC):
    """A node under the name the site file gives it. Each kind of node has an error of its own.

    Attributes:
        calling_ae_title: what this node calls itself to it.
        tls: how to secure the connection and whom to trust; None for a plain one.
    """

    name: str
    ae_title: str
    host: str
    port: int
    calling_ae_title: str
    tls: ssl.SSLContext | None = None

    @property
    def place(self) -> str:
        """Its name and where it is, for a message."""
        return f"{self.name} ({self.ae_title} at {self.host}:{self.port})"

    @abstractmethod
    def describe_trouble(self, why: str) -> Unavailable:
        """Return the error that says of this node why nothing could be done with it."""


@dataclass(frozen=True)
class Patience:
    """How long to wait for a node, in seconds: for the connection, for one answer, and for any sign of life."""

    connection_seconds: float = 15.0
    answer_seconds: float = 60.0
    network_seconds: float = 90.0
