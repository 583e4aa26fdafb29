"""The connection test, and the terminal's limits for symbols and orders.

The expert advisor states its limits only when it refuses an order. So we request a pending order at
price 0, which it always refuses before it contacts the broker: with 0 lots it states the broker's
bounds, with the maximum its own MaximumLotSize, with too many open orders MaximumOrders.
"""

import asyncio
import json
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import partial

from brokers.dwx import codes, file_io, market_data_file, parse
from brokers.dwx.client import ALL_HISTORY, DwxClient
from brokers.dwx.folders import FolderInUseError, TerminalUnavailableError
from brokers.dwx.lots import Lots, LotsError, lots_of, symbols_of
from brokers.dwx.parse import MalformedError, Message, OtherPlatformError, Snapshot
from brokers.dwx.prices import subscribe
from brokers.dwx.shared_files import read_whole
from brokers.types import Check, CheckResult, Instrument
from common.reason_codes import Code

OK, WARN, FAIL = CheckResult.OK, CheckResult.WARN, CheckResult.FAIL
FOLDER = "Ask the operators for the folder's name and its key; see docs/metatrader4.md."
LOG_IN_AGAIN = (
    "Log in to the right account. If the number is wrong, remove this connection and add it again"
    " with the right one."
)
EXPERT = "Start MetaTrader, attach DWX_Server to a chart and switch AutoTrading on."
OTHER_PLATFORM = (
    "This account is of the other type (MetaTrader 4, or MetaTrader 5 by files): remove it and add"
    " it again as that one, or start DWX_Server in the MetaTrader that you chose."
)
ALLOW_TRADING = (
    "Switch AutoTrading on, allow live trading for DWX_Server (F7 on its chart), log in with the"
    " trading password, not the investor's. The next order that goes through clears this."
)
UNREAD = "They have no magic number, so they are not ours. Look at them in MetaTrader."
LIMITS = "Raise {} in the inputs of DWX_Server (F7 on its chart)."
TOO_MANY, TOO_LARGE = "OPEN_ORDER_MAXIMUM_NUMBER", "OPEN_ORDER_LOTSIZE_TOO_LARGE"
OUT_OF_RANGE = "OPEN_ORDER_LOTSIZE_OUT_OF_RANGE"


@dataclass(slots=True)
class Symbols:
    """The results of querying the symbols."""

    instruments: list[Instrument] = field(default_factory=list)
    checks: list[Check] = field(default_factory=list)


async def run(client: DwxClient) -> list[Check]:
    """Run the checks; stop at the first failure without which no other check can run."""
    found = [Check("folder", OK, "found, and the key fits")]
    try:
        snapshot = await client.terminal.orders()
    except TerminalUnavailableError as error:
        return [*found, Check("expert advisor", FAIL, error.detail, _remedy(error))]
    found.append(Check("expert advisor", OK, "it writes"))
    if snapshot.account.number != client.spec.account:
        detail = f"The terminal is logged in to account {snapshot.account.number}."
        return [*found, Check("account", FAIL, detail, LOG_IN_AGAIN)]
    found.append(Check("account", OK, snapshot.account.number))
    found += [_mode(client), _time(client, snapshot)]
    if snapshot.unread:
        found.append(Check("other orders", WARN, "; ".join(snapshot.unread)[:500], UNREAD))
    if client.terminal.blocked:  # the files show it only after an order was tried
        found.append(
            Check("trading", FAIL, f"The last order: {client.terminal.blocked}", ALLOW_TRADING)
        )
    try:
        async with client.terminal.turn():
            await client.with_history()
            found.append(Check("commands", OK, "taken and answered"))
            found.append(Check("history", OK, f"looked up {client.days} days back. {ALL_HISTORY}"))
            return found + (await symbols(client)).checks
    except FolderInUseError as error:
        return [*found, Check("commands", WARN, error.detail, "Test from the process that has it.")]
    except TerminalUnavailableError as error:
        return [*found, Check("commands", FAIL, error.detail, _remedy(error))]


def _remedy(error: TerminalUnavailableError) -> str:
    return OTHER_PLATFORM if isinstance(error.__cause__, OtherPlatformError) else EXPERT


def _mode(client: DwxClient) -> Check:
    """Check the position mode, which the files do not contain: MetaTrader 4 hedges, and for
    MetaTrader 5 the owner sets it."""
    if client.terminal.unsupported is not None:
        return Check(
            "position mode", FAIL, client.terminal.unsupported.detail, Code.HEDGING_NEEDED.hint
        )
    if client.by_deals and not client.spec.settings.get("hedging"):
        detail = "The setting `hedging` is off."
        return Check("position mode", FAIL, detail, Code.HEDGING_NEEDED.hint)
    return Check("position mode", OK, "HEDGING")


async def instruments(client: DwxClient) -> list[Instrument]:
    """Return the symbols of the settings with the terminal's bounds; with the bounds of the last
    time if another process of ours has the terminal. Raises TerminalUnavailableError."""
    kept = client.terminal.folder / "fillcast" / "bounds.json"
    try:
        async with client.terminal.turn():
            found = (await symbols(client)).instruments
    except FolderInUseError:
        return await read_whole(kept, partial(_remembered, client), 0)
    bounds = {one.symbol: [str(one.quantity_min), str(one.quantity_max)] for one in found}
    try:
        await asyncio.to_thread(file_io.replace, kept, json.dumps(bounds).encode())
    except OSError:
        pass  # other processes then have no bounds
    return found


def _remembered(client: DwxClient, raw: bytes) -> list[Instrument]:
    bounds, found = parse.load(raw), []
    try:
        for symbol, (minimum, maximum) in bounds.items():
            lots = lots_of(client.spec.settings, symbol)
            size = lots.contract_size
            found.append(lots.within(Decimal(minimum) / size, Decimal(maximum) / size).instrument())
    except (TypeError, ValueError, ArithmeticError) as error:
        raise MalformedError(str(error)) from error
    return found


async def symbols(client: DwxClient) -> Symbols:
    """Query each symbol of the settings. In a turn. Raises TerminalUnavailableError."""
    found = Symbols()
    try:
        names = list(symbols_of(client.spec.settings))
    except LotsError as error:
        found.checks.append(Check("symbols", FAIL, str(error), "Correct the setting `symbols`."))
        return found
    if not names:
        hint = 'Name them as MetaTrader does, for example "EURUSD, XAUUSD".'
        found.checks.append(Check("symbols", FAIL, "The setting `symbols` names none.", hint))
        return found
    await subscribe(client, names)
    worth = await read_whole(
        client.terminal.prices, market_data_file.tick_values, client.terminal.timeouts.stale
    )
    account = (await client.snapshot()).account
    for symbol in names:
        try:
            lots = lots_of(client.spec.settings, symbol)
        except LotsError as error:
            found.checks.append(Check(symbol, FAIL, str(error), "Correct the setting `symbols`."))
            continue
        await _query_symbol(client, lots, found)
        found.checks += _compare_point_value(lots, account.currency, worth.get(symbol))
    return found


async def _query_symbol(client: DwxClient, lots: Lots, found: Symbols) -> None:
    symbol = lots.symbol
    message = await _probe(client, symbol, Decimal(0))
    bounds = codes.stated_limits(message)
    if message.kind == TOO_MANY:
        detail = f"{message.text} No order can be placed, and bounds are taken from the settings."
        found.checks.append(Check(symbol, WARN, detail, LIMITS.format("MaximumOrders")))
    elif message.kind == OUT_OF_RANGE and len(bounds) >= 2 and 0 < bounds[0] <= bounds[1]:
        lots = lots.within(bounds[0], bounds[1])
        found.checks.append(await _limit(client, lots))
    else:
        hint = "Write it as in MetaTrader's Market Watch, suffix and all."
        found.checks.append(Check(symbol, FAIL, "The terminal does not know this symbol.", hint))
        return
    found.instruments.append(lots.instrument())


async def _limit(client: DwxClient, lots: Lots) -> Check:
    message = await _probe(client, lots.symbol, lots.maximum)
    bounds = f"{lots.minimum:f} to {lots.maximum:f} lots"
    own = codes.stated_limits(message)
    if message.kind == TOO_LARGE and len(own) >= 2:
        detail = f"{bounds}, but DWX_Server allows only {own[1]:f} in one order."
        return Check(lots.symbol, WARN, detail, LIMITS.format("MaximumLotSize"))
    return Check(lots.symbol, OK, bounds)


def _compare_point_value(lots: Lots, currency: str, worth: Decimal | None) -> list[Check]:
    """Compare the lot size with the value of a point, if both are in one currency."""
    point = Decimal(1).scaleb(-lots.digits)
    if not worth or lots.pair.rpartition("/")[2] != currency or worth == lots.contract_size * point:
        return []
    detail = (
        f"a lot is taken as {lots.contract_size:f} units at {lots.digits} digits, which makes a "
        f"point worth {lots.contract_size * point:f}; for the terminal it is {worth:f}"
    )
    hint = f"Give contract_size and digits of {lots.symbol} in the setting `symbols`."
    return [Check(f"{lots.symbol} lot", FAIL, detail, hint)]


async def _probe(client: DwxClient, symbol: str, lots: Decimal) -> Message:
    content = f"{symbol},buylimit,{lots:f},0,0,0,0,fillcast probe,0"
    message = await client.terminal.ask("OPEN_ORDER", content)
    if not message:
        raise TerminalUnavailableError(Code.NOT_CONNECTED, "The expert advisor sends no messages.")
    return message[-1]


def _time(client: DwxClient, snapshot: Snapshot) -> Check:
    """Compare the newest opening with our clock: nothing was opened in the future."""
    newest = max((client.zone.utc(one.opened_at) for one in snapshot.tickets), default=None)
    if newest is not None and newest > datetime.now(UTC) + timedelta(minutes=5):
        return Check(
            "server time", FAIL, "An order is shown as opened in the future.",
            "Set `server_zone` to the time zone of MetaTrader's Market Watch, such as UTC+2.",
        )  # fmt: skip
    return Check("server time", OK, str(client.spec.settings.get("server_zone") or "NY+7"))
