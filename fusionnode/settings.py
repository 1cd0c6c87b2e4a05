"""The site file: who this node is, where its peers are, how patient it is. Read once, at start."""

from collections.abc import Iterator
from datetime import UTC, datetime, tzinfo
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Annotated, Any, Literal, Self
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Discriminator,
    Field,
    SecretStr,
    StringConstraints,
    Tag,
    ValidationError,
    model_validator,
)
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict, SettingsError

from fusionnode.errors import SettingsInvalid
from fusionnode.site_file import read_site
from fusionnode.trace_settings import AuditSettings, HttpSettings

AeTitle = Annotated[str, StringConstraints(strip_whitespace=True, pattern=r"^[ -\[\]-~]{1,16}$")]
Port = Annotated[int, Field(ge=0, le=65535)]


def _check_time_zone(name: str) -> str:
    try:
        return ZoneInfo(name).key if name else ""
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ValueError("this host knows no such time zone; expected a name such as Europe/Paris") from None


TimeZone = Annotated[str, AfterValidator(_check_time_zone)]


def _check_url(url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("expected http://... or https://...")
    if parts.username or parts.password or parts.query or parts.fragment:
        raise ValueError("expected no password and no query in it; use `user` and `password_file`")
    return url.rstrip("/")


def _check_network(text: str) -> str:
    try:
        return str(ip_network(text))
    except ValueError:
        raise ValueError("expected a network such as 10.1.2.0/24 or fd00:1::/64, or one address") from None


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches an address or name."""
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class TlsSettings(_Strict):
    """Whom to trust and what to show on a secured connection (PEM files).

    Attributes:
        ca: authorities that may vouch for the peer; left out, those of the host's operating system.
        certificate, key: this node's own, for a peer that asks for one; the key may be in the certificate's file.
        check_host: whether the certificate must be made out to the host's name or address.
    """

    ca: Path | None = None
    certificate: Path | None = None
    key: Path | None = None
    check_host: bool = True

    @model_validator(mode="after")
    def _check_key(self) -> Self:
        if self.key and not self.certificate:
            raise ValueError("a key is of no use without its certificate")
        return self


class ListenerTlsSettings(_Strict):
    """What the listener shows on a secured connection, and whom it trusts (PEM files).

    Attributes:
        certificate, key: this node's own; the key may be in the certificate's file.
        ca: authorities that vouch for those who send; left out, nobody is asked for a certificate.
        require_certificate: whether those who send must show one where ``ca`` is given.
    """

    certificate: Path
    key: Path | None = None
    ca: Path | None = None
    require_certificate: bool = True


class PeerSettings(_Strict):
    """Somebody who may send to the listener.

    Attributes:
        ae_title: it calls itself so; empty: anything.
        networks: it comes from one of these networks (CIDR) or addresses; empty: from anywhere.
    """

    ae_title: AeTitle | Literal[""] = ""
    networks: tuple[Annotated[str, AfterValidator(_check_network)], ...] = ()

    @model_validator(mode="after")
    def _check_bounds(self) -> Self:
        if not self.ae_title and not self.networks:
            raise ValueError('expected an ae_title, networks or both; anybody is networks = ["0.0.0.0/0", "::/0"]')
        return self


class DestinationSettings(_Strict):
    """A DICOM node that takes C-STORE.

    Attributes:
        tls: for DICOM TLS; left out for a plain connection.
        commitment: whether it offers storage commitment, so that it is asked for.
    """

    ae_title: AeTitle
    host: str
    port: Annotated[int, Field(ge=1, le=65535)]
    tls: TlsSettings | None = None
    commitment: bool = False


class WebDestinationSettings(_Strict):
    """A DICOMweb server that takes STOW-RS.

    Attributes:
        url: below it lies ``/studies``.
        user, password, password_file: for HTTP Basic authentication; the password from the environment
            (``FUSIONNODE_DESTINATIONS__NAME__PASSWORD``) or from a file that holds nothing else.
    """

    url: Annotated[str, AfterValidator(_check_url)]
    user: str = ""
    password: SecretStr = SecretStr("")
    password_file: Path | None = None
    tls: TlsSettings | None = None

    @model_validator(mode="after")
    def _check_secrecy(self) -> Self:
        parts = urlsplit(self.url)
        if self.tls and parts.scheme != "https":
            raise ValueError("a tls table needs an https URL")
        if self.user and parts.scheme != "https" and parts.hostname not in ("127.0.0.1", "localhost", "::1"):
            raise ValueError("a password would go over the network in clear text; use https")
        return self


def _tell_kind(facts: Any) -> str:
    web = "url" in facts if isinstance(facts, dict) else isinstance(facts, WebDestinationSettings)
    return "web" if web else "dicom"


AnyDestination = Annotated[
    Annotated[DestinationSettings, Tag("dicom")] | Annotated[WebDestinationSettings, Tag("web")],
    Discriminator(_tell_kind),
]


class ArchiveSettings(DestinationSettings):
    """A PACS that answers C-FIND, and C-GET or C-MOVE.

    Attributes:
        retrieve: ``get`` brings instances over our own association, ``move`` has them sent to a listener of ours.
        move_to: the AE title under which the archive knows that listener; empty: this node's.
    """

    commitment: Literal[False] = False
    retrieve: Literal["get", "move"] = "get"
    move_to: AeTitle | Literal[""] = ""


class WebArchiveSettings(WebDestinationSettings):
    """A DICOMweb server that answers QIDO-RS and WADO-RS."""


AnyArchive = Annotated[
    Annotated[ArchiveSettings, Tag("dicom")] | Annotated[WebArchiveSettings, Tag("web")],
    Discriminator(_tell_kind),
]


class SettleSettings(_Strict):
    """How long a series must be quiet before it counts as complete (seconds; see docs/reference/site-file.md)."""

    idle_seconds: float = Field(default=10, ge=0)
    slow_seconds: float = Field(default=90, ge=0)
    gap_seconds: float = Field(default=600, ge=0)
    sweep_seconds: float = Field(default=2, gt=0)


class WorkSettings(_Strict):
    """How patient the workers are."""

    lease_seconds: float = Field(default=60, gt=0, le=86_400)
    max_attempts: int = Field(default=5, ge=1)
    max_send_attempts: int = Field(default=1000, ge=1)
    max_refusals: int = Field(default=8, ge=1)
    senders: int = Field(default=4, ge=1)
    retry_seconds: float = Field(default=5, gt=0)
    retry_cap_seconds: float = Field(default=600, gt=0)
    commitment_seconds: float = Field(default=3600, gt=0)
    max_commitment_requests: int = Field(default=24, ge=1)
    step_seconds: float = Field(default=3600, gt=0)


class RetentionSettings(_Strict):
    """How long what is done with is kept (days; see docs/reference/site-file.md); what waits is never deleted."""

    enabled: bool = True
    delivered_days: float = Field(default=30, gt=0)
    unpaired_days: float = Field(default=180, gt=0)
    failed_days: float = Field(default=365, gt=0)


class QuotaSettings(_Strict):
    """What a node takes on before it answers A700 (see docs/reference/site-file.md); 0 sets no bound."""

    spool_gb: float = Field(default=0, ge=0)
    waiting_jobs: int = Field(default=0, ge=0)


class Settings(BaseSettings):
    """Everything a node must be told. Environment variables (``FUSIONNODE_PORT``, ...) override the site file.

    Attributes:
        require_called_ae: whether those who send must call this node by its AE title.
        peers: those who may send; none: everybody, and that on loopback only.
        tls: of the listener; left out, it speaks DICOM without TLS.
        spool: folder for received, prepared and finished objects; shared by all processes of the node.
        database_url: SQLAlchemy URL; empty means SQLite inside the spool.
        broker_url: Redis URL for the scaled-out form; empty means embedded workers.
        time_zone: of the site's clocks, such as ``Europe/Paris``; empty means the one this host is set to.
        pipelines: folder of pipeline files; empty means the ones that come with fusionnode.
        device: where networks run; ``auto`` is the GPU if one is visible, else the CPU.
        log_format: of the commands that run for long.
    """

    model_config = SettingsConfigDict(
        env_prefix="FUSIONNODE_",
        env_nested_delimiter="__",
        extra="forbid",
        frozen=True,
        nested_model_default_partial_update=True,
    )

    ae_title: AeTitle = "FUSIONNODE"
    host: str = "127.0.0.1"
    port: Port = 11112
    max_associations: int = Field(default=64, ge=1)
    max_associations_per_address: int = Field(default=32, ge=1)
    require_called_ae: bool = True
    peers: dict[str, PeerSettings] = Field(default_factory=dict)
    tls: ListenerTlsSettings | None = None
    spool: Path = Path("spool")
    spool_reserve_mb: int = Field(default=2048, ge=0)
    database_url: SecretStr = SecretStr("")
    broker_url: SecretStr = SecretStr("")
    time_zone: TimeZone = ""
    pipelines: Path | None = None
    device: Literal["auto", "cpu", "cuda"] = "auto"
    log_format: Literal["text", "json"] = "text"
    destinations: dict[str, AnyDestination] = Field(default_factory=dict)
    archives: dict[str, AnyArchive] = Field(default_factory=dict)
    settle: SettleSettings = SettleSettings()
    work: WorkSettings = WorkSettings()
    audit: AuditSettings = AuditSettings()
    http: HttpSettings = HttpSettings()
    retention: RetentionSettings = RetentionSettings()
    quota: QuotaSettings = QuotaSettings()

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Let the environment win over the site file, which arrives as constructor arguments."""
        return env_settings, init_settings

    @property
    def is_on_loopback(self) -> bool:
        """Whether only this machine reaches the listener."""
        return is_loopback(self.host)

    def check_reach(self) -> None:
        """Check that it is said who may send, where others can.

        Raises:
            SettingsInvalid: any host that reaches the listener could send.
        """
        if self.peers or self.is_on_loopback:
            return
        raise SettingsInvalid(
            f"The listener on {self.host or '*'}:{self.port} would take instances from any host that reaches it.",
            remedy='Say in the site file who may send, for each `[peers.NAME]` an `ae_title = "MR1"`, '
            '`networks = ["10.1.2.0/24"]` or both; or keep `host` on 127.0.0.1.',
        )

    def list_ledger_files(self) -> Iterator[Path]:
        """Yield the file of a database that is one."""
        scheme, _, place = self.ledger_url.partition(":///")
        if scheme.startswith("sqlite") and place:
            yield Path(place)

    def list_certificate_files(self) -> dict[Path, bool]:
        """Return the files of certificates, each with whether they are those of trusted authorities or this node's."""
        files = {one.ca: True for one in self._list_tls() if one.ca}
        return files | {one.certificate: False for one in self._list_tls() if one.certificate}

    def _list_tls(self) -> Iterator[TlsSettings | ListenerTlsSettings]:
        yield from (one.tls for one in (*self.destinations.values(), *self.archives.values()) if one.tls)
        if self.tls:
            yield self.tls

    def list_secret_files(self) -> Iterator[Path]:
        """Yield the files of keys and passwords."""
        for one in (*self.destinations.values(), *self.archives.values()):
            if isinstance(one, WebDestinationSettings) and one.password_file:
                yield one.password_file
            if one.tls and one.tls.certificate:
                yield one.tls.key or one.tls.certificate
        if self.tls:
            yield self.tls.key or self.tls.certificate
        if self.audit.key_file:
            yield self.audit.key_file

    def find_zone(self, moment: datetime) -> tzinfo:
        """The zone that the site's clocks showed at ``moment`` (timezone-aware), summer time included."""
        if self.time_zone:
            return ZoneInfo(self.time_zone)
        return moment.astimezone().tzinfo or UTC

    @property
    def ledger_url(self) -> str:
        """The database URL in force."""
        return self.database_url.get_secret_value() or f"sqlite:///{(self.spool / 'ledger.sqlite').resolve()}"


def load_settings(site: Path | None) -> Settings:
    """Read the site file (TOML or YAML) and the environment.

    Relative paths in the site file are taken from the folder it lies in.

    Raises:
        SettingsInvalid: every mistake of the file and the environment at once.
    """
    facts = read_site(site) if site else {}
    try:
        return Settings(**facts)
    except SettingsError as unreadable:
        raise SettingsInvalid(
            f"An environment variable cannot be parsed: {unreadable}.", remedy="Tables are written as JSON."
        ) from None
    except ValidationError as invalid:
        mistakes = [f"{'.'.join(map(str, error['loc']))}: {error['msg']}" for error in invalid.errors()]
        raise SettingsInvalid(
            f"{site or 'The environment'} does not describe a node: " + "; ".join(mistakes) + ".",
            remedy="See docs/reference/site-file.md.",
            mistakes=mistakes,
        ) from None
