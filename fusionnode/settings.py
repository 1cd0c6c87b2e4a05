"""The site file: who this node is, where its peers are, how patient it is. Read once, at start."""

import tomllib
from datetime import UTC, datetime, tzinfo
from pathlib import Path
from typing import Annotated, Any, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import yaml
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SecretStr, StringConstraints, ValidationError
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict, SettingsError

from fusionnode.errors import SettingsInvalid

AeTitle = Annotated[str, StringConstraints(strip_whitespace=True, pattern=r"^[ -\[\]-~]{1,16}$")]
Port = Annotated[int, Field(ge=0, le=65535)]


def _check_time_zone(name: str) -> str:
    try:
        return ZoneInfo(name).key if name else ""
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ValueError("this host knows no such time zone; expected a name such as Europe/Paris") from None


TimeZone = Annotated[str, AfterValidator(_check_time_zone)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class DestinationSettings(_Strict):
    """A DICOM node that takes C-STORE."""

    ae_title: AeTitle
    host: str
    port: Annotated[int, Field(ge=1, le=65535)]


class SettleSettings(_Strict):
    """How long a series must be quiet before it counts as complete (seconds; see docs/reference/site-file.md)."""

    idle_seconds: float = Field(default=10, ge=0)
    slow_seconds: float = Field(default=90, ge=0)
    gap_seconds: float = Field(default=600, ge=0)
    sweep_seconds: float = Field(default=2, gt=0)


class WorkSettings(_Strict):
    """How patient the workers are."""

    lease_seconds: float = Field(default=60, gt=0)
    max_attempts: int = Field(default=5, ge=1)
    max_send_attempts: int = Field(default=1000, ge=1)
    retry_seconds: float = Field(default=5, gt=0)
    retry_cap_seconds: float = Field(default=600, gt=0)


class Settings(BaseSettings):
    """Everything a node must be told. Environment variables (``FUSIONNODE_PORT``, ...) override the site file.

    Attributes:
        spool: folder for received, prepared and finished objects; shared by all processes of the node.
        database_url: SQLAlchemy URL; empty means SQLite inside the spool.
        broker_url: Redis URL for the scaled-out form; empty means embedded workers.
        time_zone: of the site's clocks, such as ``Europe/Paris``; empty means the one this host is set to.
        pipelines: folder of pipeline files; empty means the ones that come with fusionnode.
        device: where networks run; ``auto`` is the GPU if one is visible, else the CPU.
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
    spool: Path = Path("spool")
    spool_reserve_mb: int = Field(default=512, ge=0)
    database_url: SecretStr = SecretStr("")
    broker_url: SecretStr = SecretStr("")
    time_zone: TimeZone = ""
    pipelines: Path | None = None
    device: Literal["auto", "cpu", "cuda"] = "auto"
    destinations: dict[str, DestinationSettings] = Field(default_factory=dict)
    settle: SettleSettings = SettleSettings()
    work: WorkSettings = WorkSettings()

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
    facts = _read_site(site) if site else {}
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


def _read_site(site: Path) -> dict[str, Any]:
    try:
        text = site.read_text(encoding="utf-8")
        facts = tomllib.loads(text) if site.suffix == ".toml" else yaml.safe_load(text)
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError, yaml.YAMLError) as error:
        raise SettingsInvalid(
            f"The site file {site} cannot be read: {error}.", remedy="Mend or name another."
        ) from None
    if not isinstance(facts, dict):
        raise SettingsInvalid(f"The site file {site} is not a table of settings.", remedy="See deploy/site.toml.")
    for key in ("spool", "pipelines"):
        if isinstance(facts.get(key), str):
            facts[key] = site.parent / facts[key]
    return facts
