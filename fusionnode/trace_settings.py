"""The part of the site file that says what the node tells of itself: the audit trail, and HTTP for monitoring."""

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, SecretStr, model_validator

from fusionnode.errors import SettingsInvalid

Port = Annotated[int, Field(ge=0, le=65535)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class AuditSettings(_Strict):
    """Who did what when, for an auditor.

    Attributes:
        folder: of the trail; left out, ``audit`` in the spool.
        patients: as a hash, which takes a key, or in clear.
        key, key_file: the site's secret for hashes and seals, from the environment (``FUSIONNODE_AUDIT__KEY``) or from
            a file that holds nothing else; without one patients are not named at all.
        max_mb: a file that has grown to this is followed by another.
    """

    folder: Path | None = None
    patients: Literal["hash", "clear"] = "hash"
    key: SecretStr = SecretStr("")
    key_file: Path | None = None
    max_mb: int = Field(default=64, ge=1)

    @model_validator(mode="after")
    def _check_key(self) -> Self:
        if self.key_file and self.key.get_secret_value():
            raise ValueError("set key_file or the environment's key, not both")
        return self

    def read_key(self) -> str:
        """Return the site's secret; empty where it has none.

        Raises:
            SettingsInvalid: its file cannot be read, or holds nothing that could be a secret.
        """
        if self.key_file is None:
            return self.key.get_secret_value()
        try:
            secret = self.key_file.read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as problem:
            raise SettingsInvalid(
                f"The key of the audit trail cannot be read from {self.key_file}.",
                remedy="Let this process read that file.",
            ) from problem
        if not secret:
            raise SettingsInvalid(
                f"{self.key_file} holds no key for the audit trail.", remedy="Run `openssl rand -hex 32 > FILE`."
            )
        return secret


class HttpSettings(_Strict):
    """Where /metrics, /healthz and /readyz are served.

    Attributes:
        port: of `serve` and `listen`; left out, nothing is served.
        sweep_port: of `sweep`, which tells of the ledger in the scaled-out form.
    """

    host: str = "127.0.0.1"
    port: Port | None = None
    sweep_port: Port | None = None
