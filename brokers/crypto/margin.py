"""The margin mode and leverage of perpetuals: read, set where the account demands them, required of
every entry. What the account does not demand is the owner's, and stays as it is.

Raises ccxt's errors, KeyError or ValueError, unless a function states otherwise.
"""

from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from brokers.base import NotSent, Rejected, outcome_of
from brokers.crypto import orders, reads
from brokers.crypto.client import Client
from brokers.crypto.exchanges import MarginApi
from brokers.crypto.settings import DEFAULT_MARGIN_MODE, MarginMode
from brokers.types import ConnectionSpec
from common.clocks import machine_time
from common.reason_codes import Code

RENEW_SECONDS = 60.0  # so long a reading is enough for an entry
BYBIT_MODES = {
    "ISOLATED_MARGIN": MarginMode.ISOLATED, "REGULAR_MARGIN": MarginMode.CROSS,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Margin:
    """mode: cross, isolated, or the exchange's word. leverage: of both sides; None: it states none.
    At OKX the mode is that of what is open, and else what our orders name."""

    mode: str
    leverage: Decimal | None

    def __str__(self) -> str:
        return self.mode if self.leverage is None else f"{self.mode} {self.leverage:f}x"


async def read(client: Client, symbol: str) -> Margin:
    """Read what the exchange would use for an entry in a symbol now."""
    match client.rules.margin:
        case MarginApi.SYMBOL:
            found = await client.exchange.fetch_margin_mode(symbol)
            return Margin(str(found["marginMode"]), _number(found["info"].get("leverage")))
        case MarginApi.ACCOUNT:
            info = (await client.exchange.privateGetV5AccountInfo())["result"]
            named = str(info["marginMode"])
            found = await client.exchange.fetch_leverage(symbol)
            return Margin(BYBIT_MODES.get(named, named.lower()), _number(found["longLeverage"]))
        case MarginApi.ORDER:
            wanted = client.settings.margin_mode or DEFAULT_MARGIN_MODE
            mode = await reads.held_mode(client, symbol) or str(wanted)
            found = await client.exchange.fetch_leverage(symbol, {"marginMode": mode})
            return Margin(mode, _number(found["longLeverage"]))
        case None:
            return Margin("", None)


def fault(client: Client, found: Margin) -> tuple[Code, str] | None:
    """Return in what a reading differs from what the account demands; None: in nothing."""
    settings = client.settings
    if client.rules.margin is None:
        return None
    if settings.margin_mode and found.mode != settings.margin_mode:
        return Code.MARGIN_MODE_DIFFERS, f"{found.mode}, and {settings.margin_mode} is demanded"
    if settings.leverage and found.leverage != settings.leverage:
        stated = "none" if found.leverage is None else f"{found.leverage:f}x"
        return Code.LEVERAGE_DIFFERS, f"{stated}, and {settings.leverage:f}x is demanded"
    return None


async def read_or_set(client: Client, symbol: str) -> tuple[Margin, str]:
    """Read a symbol's margin; set what differs from what is demanded, and read it again.

    Returns also why the exchange did not change it; '' if it did, or had no need to."""
    for _ in range(2):  # the mode first, then the leverage
        found = await read(client, symbol)
        if (differs := fault(client, found)) is None:
            return found, ""
        refused = await outcome_of(_set(client, symbol, differs[0]))
        if isinstance(refused, Exception):
            return await read(client, symbol), str(refused)
    return await read(client, symbol), ""


async def require(client: Client, spec: ConnectionSpec, symbol: str) -> None:
    """Let an entry go on only with what the account demands; a reading counts for a minute.

    Raises Rejected MARGIN_MODE_DIFFERS or LEVERAGE_DIFFERS, NotSent if it cannot be read."""
    settings = client.settings
    if not (settings.margin_mode or settings.leverage) or client.rules.margin is None:
        return
    if machine_time() < client.margin_right_until.get(symbol, 0.0):
        return
    outcome = await outcome_of(read_or_set(client, symbol))
    if isinstance(outcome, Exception):
        detail = orders.redact_error(outcome, spec)
        raise NotSent(Code.NOT_CONNECTED, f"margin mode and leverage: {detail}") from outcome
    found, refused = outcome
    if (differs := fault(client, found)) is not None:
        code, detail = differs
        raise Rejected(code, orders.redact(f"{symbol}: {detail}. {refused}".strip(), spec))
    client.margin_right_until[symbol] = machine_time() + RENEW_SECONDS


async def _set(client: Client, symbol: str, what: Code) -> None:
    exchange, settings = client.exchange, client.settings
    if what is Code.MARGIN_MODE_DIFFERS:
        if client.rules.margin is MarginApi.ORDER:
            raise ValueError("the position that is open has it")
        await exchange.set_margin_mode(str(settings.margin_mode), symbol)
        return
    assert settings.leverage is not None  # else it differs from nothing
    mode = str(settings.margin_mode or DEFAULT_MARGIN_MODE)
    further = {"marginMode": mode} if client.rules.margin is MarginApi.ORDER else {}
    await exchange.set_leverage(int(settings.leverage), symbol, further)


def _number(value: Any) -> Decimal | None:
    return None if value in (None, "") else Decimal(str(value))
