"""Where a connection's session is: the gateway, the client id and the account."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from brokers.base import ReadFailed
from brokers.types import ConnectionSpec
from common.reason_codes import Code

PORTS = {7497: "TWS paper", 7496: "TWS live", 4002: "Gateway paper", 4001: "Gateway live"}
DEFAULT_PORT = 4002
CLIENT_IDS = range(1_000, 1_000_000_000)  # below: what people give to programs of their own
NEW_YORK = "America/New_York"  # the zone in which IBKR's day ends, unless the gateway says another


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One session's whereabouts. timezone: the one chosen at the gateway's log-in."""

    connection_id: str
    account: str
    host: str
    port: int
    client_id: int
    timezone: str
    settings: Mapping[str, Any]
    reply_timeout: float | None = None  # seconds that an order's answer is waited for

    @property
    def address(self) -> tuple[str, int, int]:
        """Host, port and clientId."""
        return self.host, self.port, self.client_id


def endpoint_of(spec: ConnectionSpec) -> Endpoint:
    """Read a connection's settings. Raises ReadFailed FIELD_INVALID or FIELD_REQUIRED."""
    settings = spec.settings
    if not settings.get("host"):  # never ours by default: whoever reaches a gateway trades there
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
    """Return a connection's own clientId: another for each, and always the same.

    Only the clientId that placed an order can change or cancel it, so that it must not depend on
    the process, the lane or the order in which connections are opened.
    """
    digest = hashlib.sha256(connection_id.encode()).digest()
    return CLIENT_IDS[int.from_bytes(digest[:8]) % len(CLIENT_IDS)]
