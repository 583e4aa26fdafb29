"""The endpoint of a connection's session: gateway, client id and account."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from brokers.base import ReadFailed
from brokers.types import ConnectionSpec
from common.reason_codes import Code

PORTS = {7497: "TWS paper", 7496: "TWS live", 4002: "Gateway paper", 4001: "Gateway live"}
DEFAULT_PORT = 4002
CLIENT_IDS = range(1_000, 1_000_000_000)  # people use lower ones for programs of their own
NEW_YORK = "America/New_York"  # IBKR's day ends there, unless the gateway has another zone


@dataclass(frozen=True, slots=True)
class Endpoint:
    """The address and settings of one session. timezone: as chosen at the gateway's log-in."""

    connection_id: str
    account: str
    host: str
    port: int
    client_id: int
    timezone: str
    settings: Mapping[str, Any]
    reply_timeout: float | None = None  # seconds to wait for the answer to an order

    @property
    def address(self) -> tuple[str, int, int]:
        """Host, port and clientId."""
        return self.host, self.port, self.client_id


def endpoint_of(spec: ConnectionSpec) -> Endpoint:
    """Read a connection's settings. Raises ReadFailed FIELD_INVALID or FIELD_REQUIRED."""
    settings = spec.settings
    if not settings.get("host"):  # no default: anyone who can reach a gateway can trade on it
        raise ReadFailed(Code.FIELD_REQUIRED, "the gateway's host")
    try:
        return Endpoint(
            connection_id=spec.connection_id,
            account=spec.account,
            host=str(settings["host"]),
            port=int(settings.get("port") or DEFAULT_PORT),
            client_id=int(settings.get("client_id") or client_id_of(spec.connection_id)),
            timezone=str(settings.get("timezone") or NEW_YORK),
            settings=settings,
            reply_timeout=float(settings["reply_timeout"])
            if settings.get("reply_timeout")
            else None,
        )
    except (TypeError, ValueError) as error:
        raise ReadFailed(Code.FIELD_INVALID, f"port, client_id, reply_timeout: {error}") from error


def client_id_of(connection_id: str) -> int:
    """Return the clientId of a connection: unique, and always the same.

    Only the clientId that placed an order can change or cancel it. So it must not depend on the
    process, the lane or the order in which connections are opened.
    """
    digest = hashlib.sha256(connection_id.encode()).digest()
    return CLIENT_IDS[int.from_bytes(digest[:8]) % len(CLIENT_IDS)]
