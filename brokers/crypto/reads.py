"""What an account holds, rests and has executed. Raises ccxt's errors, KeyError or ValueError."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from functools import partial
from typing import Any

from brokers.base import ReadFailed
from brokers.crypto import (
    account_identity,
    entry_prices,
    order_pages,
    parse,
    spot_positions,
    unlisted,
)
from brokers.crypto.ccxt_hooks import UNREADABLE
from brokers.crypto.client import RENEW_SECONDS, Client
from brokers.crypto.exchanges import Total
from brokers.crypto.paging import read_pages
from brokers.exit_reads import is_exit_read
from brokers.shared_reads import shared
from brokers.types import (
    AccountState,
    BrokerOrder,
    BrokerPosition,
    Instrument,
    PositionMode,
    unreadable_position,
)
from brokers.unreadable_rows import INVALID, OF_ONE_ROW, UNREADABLE_ROWS, is_of_one_row, readable
from common.clocks import machine_time
from common.reason_codes import Code

HEDGE_MODE = "the account is in hedge mode: set it to one-way mode at the exchange"


async def call_method(client: Client, name: str, *arguments: Any) -> Any:
    """Call a method of ccxt's by its name."""
    return await getattr(client.exchange, name)(*arguments)


async def instruments(client: Client) -> list[Instrument]:
    """The listed symbols that the exchange has, and whose steps it states."""
    found = (instrument_of(client, name) for name in unlisted.listed(client))
    return [instrument for instrument in found if instrument is not None]


def instrument_of(client: Client, name: str) -> Instrument | None:
    """Return a listed symbol's instrument; None if the exchange does not state its steps (OKX: one
    that will be traded later). It must not stop what is read of the others."""
    try:
        return parse.instrument(client.market(name))
    except INVALID as error:
        UNREADABLE_ROWS.note(client.connection_id, "symbol", name, error)
        return None


# ---- the account ----------------------------------------------------------------------------
async def account(client: Client, name: str = "", known: str = "") -> AccountState:
    """Balances in the account's currency: on spot the quote currency and what the listed symbols'
    bases are worth, on perpetuals the settling currency. name: what we call the account.
    known: the identity that was read with this key."""
    read = await _balance(client)
    currency = client.settings.currency
    total = parse.optional_number(read["total"].get(currency))
    free = parse.optional_number(read["free"].get(currency), total)
    if client.settings.market == "spot":
        free = min(free, total)  # of a debt exchanges state that 0 is available
        balance, equity = total, total + await _base_value(client, read["total"])
    else:
        open_profit = await _open_profit(client)
        is_equity = client.rules.total is Total.EQUITY
        equity = total if is_equity else total + open_profit
        balance = total - open_profit if is_equity else total
    return AccountState(
        account=name,
        currency=currency,
        balance=balance,
        equity=equity,
        margin_used=max(Decimal(0), (equity if client.settings.market == "swap" else total) - free),
        free_margin=free,
        leverage=client.settings.leverage or Decimal(1),  # the most margin, if it is not known
        position_mode=PositionMode.NETTING,
        time=datetime.now(UTC),
        trading_allowed=_may_trade(read),
        demo=client.settings.sandbox,
        identity=known or await account_identity.identity_if_available(client),
    )


async def balances(client: Client) -> dict[str, Decimal]:
    """Return what there is of each currency, by its name."""
    totals = (await _balance(client))["total"]
    return {name: parse.optional_number(amount) for name, amount in totals.items()}


async def _balance(client: Client) -> Mapping[str, Any]:
    asked = {"type": client.settings.market}
    read = await shared("balance", partial(call_method, client, "fetch_balance", asked))
    if not isinstance(read, dict) or not isinstance(read.get("total"), dict):
        raise ValueError("no balances in the answer")  # noqa: TRY004 - an answer, not a type
    suffix = client.rules.earning_suffix
    return _with_earning(read, suffix) if suffix else read


def _with_earning(read: Mapping[str, Any], suffix: str) -> Mapping[str, Any]:
    """Return the balances, each with what the exchange lists under its name and a suffix."""
    sums: dict[str, dict[str, Decimal]] = {"total": {}, "free": {}}
    for kind, balances in sums.items():
        for name, amount in read[kind].items():
            currency = name.removesuffix(suffix)
            so_far = balances.get(currency, Decimal(0))
            balances[currency] = so_far + parse.optional_number(amount)
    return {**read, **sums}


async def log_in(client: Client) -> None:
    """Make a request that needs a valid key."""
    await _balance(client)


def _may_trade(read: Mapping[str, Any]) -> bool:
    """Binance reports it with the balances; for the others the connection test checks it."""
    info = read.get("info")
    return not (isinstance(info, dict) and info.get("canTrade") is False)


async def _base_value(client: Client, totals: Mapping[str, Any]) -> Decimal:
    """What the bases of the listed symbols are worth at the last price. Raises ValueError for one
    without any: an equity without it would look like a loss."""
    amounts = {
        name: parse.optional_number(totals.get(name.partition("/")[0]))
        for name in unlisted.listed(client)
    }
    amounts = {name: amount for name, amount in amounts.items() if amount}
    if not amounts:
        return Decimal(0)
    tickers = await call_method(client, "fetch_tickers", list(amounts))
    prices = {name: _last_price(client, name, tickers.get(name) or {}) for name in amounts}
    return sum((amount * prices[name] for name, amount in amounts.items()), Decimal(0))


def _last_price(client: Client, name: str, ticker: Mapping[str, Any]) -> Decimal:
    """Return a symbol's last price: of a market that stands still or is about to go an exchange may
    list none, and then the last one that was read is its price. Raises ValueError without one."""
    stated = (_stated_price(ticker.get(kind)) for kind in ("last", "close", "bid"))
    price = next((one for one in stated if one > 0), client.last_prices.get(name))
    if price is None:
        raise ValueError(f"{name} is held, and the exchange lists no price of it")
    client.last_prices[name] = price
    return price


def _stated_price(value: Any) -> Decimal:
    """Return a price, 0 for what is none."""
    try:
        return parse.optional_number(value)
    except ValueError:
        return Decimal(0)


async def _open_profit(client: Client) -> Decimal:
    found = await _open_positions(client)
    return sum((parse.optional_number(one.get("unrealizedPnl")) for one in found), Decimal(0))


# ---- positions ------------------------------------------------------------------------------
async def positions(client: Client) -> list[BrokerPosition]:
    """What is held: on spot by the balances, on perpetuals by the exchange's positions."""
    if client.settings.market == "spot":
        return await _spot_positions(client)
    may_be_ours = not unlisted.all_are_listed(client)
    return readable(
        client.connection_id, "position", await _open_positions(client),
        partial(_position, client, may_be_ours=may_be_ours),
        name_of=_name_of, otherwise=partial(_unreadable, client),
    )  # fmt: skip


def _position(
    client: Client, read: Mapping[str, Any], *, may_be_ours: bool
) -> BrokerPosition | None:
    """Return a position; None: it is flat, or in an unlisted symbol that cannot be ours."""
    symbol = row_symbol(read)
    if not may_be_ours and not unlisted.is_readable(
        client, symbol, what="position", may_be_ours=False
    ):
        return None
    position = parse.position(read, parse.contract_size(client.market(symbol)))
    if position is not None and read.get("hedged") is True:
        raise ReadFailed(Code.FIELD_INVALID, HEDGE_MODE)
    return position


def row_symbol(row: Mapping[str, Any]) -> str:
    """Return the symbol of a row. Raises ValueError if ccxt could not read it."""
    if UNREADABLE in row:
        raise ValueError(row[UNREADABLE])
    return str(row["symbol"])


def _name_of(row: Mapping[str, Any]) -> str:
    return f"{row.get('id') or ''} in {row.get('symbol') or '?'}".strip()


def _unreadable(client: Client, row: Mapping[str, Any]) -> BrokerPosition:
    symbol = unlisted.name_of(client, str(row.get("symbol") or ""))
    return unreadable_position(symbol or str(row.get("id") or ""), symbol)


async def _open_positions(client: Client) -> Sequence[Mapping[str, Any]]:
    """Return the open positions as ccxt's, all or none: one that is missing would count as closed.

    Raises ValueError if they cannot be read completely."""

    async def read(further: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
        page: Sequence[Mapping[str, Any]] = await call_method(
            client, "fetch_positions", None, further
        )
        return page

    rules = client.rules
    found, is_complete = await read_pages(rules.positions_paging, rules.positions_page, read)
    if not is_complete:
        raise ValueError(f"{len(found)} or more positions are open, and the rest is not listed")
    client.held_modes = {
        str(one.get("symbol")): str(one["marginMode"]) for one in found if one.get("marginMode")
    }
    return found


async def held_mode(client: Client, symbol: str) -> str:
    """Return the margin mode of what is open of a symbol now; '' if nothing is."""
    await _open_positions(client)
    return (client.held_modes or {}).get(symbol, "")


async def held_symbols(client: Client) -> list[str]:
    """Return the spot symbols of whose coin there is a balance, also those that the exchange no
    longer lists."""
    totals = (await _balance(client))["total"]
    return [
        name
        for name in client.settings.symbols
        if parse.optional_number(totals.get(name.partition("/")[0]))
    ]


async def _spot_positions(client: Client) -> list[BrokerPosition]:
    totals = (await _balance(client))["total"]
    found = []
    is_exit = is_exit_read()
    for name in client.settings.symbols:
        try:
            position = await _spot_position(client, name, totals, is_exit=is_exit)
        except OF_ONE_ROW as error:
            if not is_of_one_row(error):
                raise
            UNREADABLE_ROWS.note(client.connection_id, "position", f"in {name}", error)
            position = unreadable_position(name, name)
        if position is not None:
            found.append(position)
    return found


async def _spot_position(
    client: Client, name: str, totals: Mapping[str, Any], *, is_exit: bool
) -> BrokerPosition | None:
    balance = parse.optional_number(totals.get(name.partition("/")[0]))
    instrument = instrument_of(client, name) if name in client.exchange.markets else None
    if instrument is None:
        if balance <= 0:
            return None
        client.doubt_markets(unless_since=RENEW_SECONDS)  # one answer may have lacked it
        return spot_positions.unlisted_position(name, balance)
    if not spot_positions.sellable(balance, instrument):
        has_some = balance > 0
        return spot_positions.unsellable_position(instrument, balance) if has_some else None
    if is_exit:
        return spot_positions.position(instrument, balance, ())
    return await _with_entry_price(client, instrument, balance)


async def _with_entry_price(
    client: Client, instrument: Instrument, balance: Decimal
) -> BrokerPosition:
    symbol = instrument.symbol
    traded_at = client.traded.traded_at(symbol)
    position = entry_prices.known(client.entries, symbol, balance, traded_at=traded_at)
    if position is not None:
        return position
    began = machine_time()
    trades = await call_method(client, "fetch_my_trades", symbol, None, client.rules.fills_page)
    try:
        ordered = sorted(trades, key=lambda trade: int(trade["timestamp"]))
        position = spot_positions.position(instrument, balance, ordered)
    except INVALID as error:  # then its entry price is not known
        UNREADABLE_ROWS.note(client.connection_id, "execution", f"in {symbol}", error)
        return spot_positions.position(instrument, balance, ())
    return entry_prices.remember(client.entries, position, began=began)


# ---- orders ---------------------------------------------------------------------------------
async def open_orders(client: Client) -> list[BrokerOrder]:
    """What rests on the account, on every symbol that the exchange lists."""
    return readable(
        client.connection_id, "open order", await order_pages.open_orders(client),
        partial(_resting, client), name_of=_name_of,
    )  # fmt: skip


def _resting(client: Client, order: Mapping[str, Any]) -> BrokerOrder | None:
    """Return a working order; None: it is of others, in a symbol that is not listed. Ours stays in
    the list where its size is known."""
    symbol, name = row_symbol(order), str(order.get("clientOrderId") or "")
    is_ours = unlisted.is_our_id(name)
    if not is_ours and not unlisted.is_readable(
        client, symbol, what="open order", may_be_ours=False
    ):
        return None
    if symbol not in client.exchange.markets:
        client.look_again()
    size = unlisted.size_of(client, order) or parse.contract_size(client.market(symbol))
    found = parse.resting(order, size)
    return replace(found, symbol=unlisted.name_of(client, symbol) or symbol)
