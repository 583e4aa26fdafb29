"""What an account holds, rests and has executed. Raises ccxt's errors, KeyError or ValueError."""

from collections.abc import Mapping, Sequence
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
from brokers.crypto.client import RENEW_SECONDS, Client
from brokers.crypto.exchanges import Total
from brokers.crypto.paging import read_pages
from brokers.exit_reads import is_exit_read
from brokers.shared_reads import shared
from brokers.types import AccountState, BrokerOrder, BrokerPosition, Instrument, PositionMode
from common.clocks import machine_time
from common.reason_codes import Code

HEDGE_MODE = "the account is in hedge mode: set it to one-way mode at the exchange"


async def call_method(client: Client, name: str, *arguments: Any) -> Any:
    """Call a method of ccxt's by its name."""
    return await getattr(client.exchange, name)(*arguments)


async def instruments(client: Client) -> list[Instrument]:
    """The listed symbols that the exchange has."""
    markets = client.exchange.markets
    return [parse.instrument(markets[name]) for name in client.settings.symbols if name in markets]


# ---- the account ----------------------------------------------------------------------------
async def account(client: Client, name: str = "", known: str = "") -> AccountState:
    """Balances in the account's currency: on spot the quote currency and what the listed symbols'
    bases are worth, on perpetuals the settling currency. name: what we call the account.
    known: the identity that was read with this key."""
    read = await _balance(client)
    currency = client.settings.currency
    total = parse.optional_number(read["total"].get(currency))
    free = parse.optional_number(read["free"].get(currency), total)
    if free > total and client.settings.market == "spot":
        raise ValueError(f"more {currency} is free than there is")
    if client.settings.market == "spot":
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
    """What the bases of the listed symbols are worth at the last price."""
    amounts = {
        name: parse.optional_number(totals.get(name.partition("/")[0]))
        for name in unlisted.listed(client)
    }
    amounts = {name: amount for name, amount in amounts.items() if amount}
    if not amounts:
        return Decimal(0)
    tickers = await call_method(client, "fetch_tickers", list(amounts))
    prices = {name: parse.number(tickers[name]["last"]) for name in amounts}
    return sum((amount * prices[name] for name, amount in amounts.items()), Decimal(0))


async def _open_profit(client: Client) -> Decimal:
    found = await _open_positions(client)
    return sum((parse.optional_number(one.get("unrealizedPnl")) for one in found), Decimal(0))


# ---- positions ------------------------------------------------------------------------------
async def positions(client: Client) -> list[BrokerPosition]:
    """What is held: on spot by the balances, on perpetuals by the exchange's positions."""
    if client.settings.market == "spot":
        return await _spot_positions(client)
    found = []
    may_be_ours = not unlisted.all_are_listed(client)
    for read in await _open_positions(client):
        symbol = str(read["symbol"])
        if not unlisted.is_readable(client, symbol, what="positions", may_be_ours=may_be_ours):
            continue
        size = parse.contract_size(client.market(read["symbol"]))
        position = parse.position(read, size)
        if position is not None and read.get("hedged") is True:
            raise ReadFailed(Code.FIELD_INVALID, HEDGE_MODE)
        if position is not None:
            found.append(position)
    return found


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
    return found


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
        balance = parse.optional_number(totals.get(name.partition("/")[0]))
        if name not in client.exchange.markets:
            if balance > 0:
                client.doubt_markets(unless_since=RENEW_SECONDS)  # one answer may have lacked it
                found.append(spot_positions.unlisted_position(name, balance))
            continue
        instrument = parse.instrument(client.market(name))
        if spot_positions.sellable(balance, instrument):
            if is_exit:
                found.append(spot_positions.position(instrument, balance, ()))
            else:
                found.append(await _with_entry_price(client, instrument, balance))
        elif balance > 0:
            found.append(spot_positions.unsellable_position(instrument, balance))
    return found


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
    ordered = sorted(trades, key=lambda trade: int(trade["timestamp"]))
    position = spot_positions.position(instrument, balance, ordered)
    return entry_prices.remember(client.entries, position, began=began)


# ---- orders ---------------------------------------------------------------------------------
async def open_orders(client: Client) -> list[BrokerOrder]:
    """What rests on the account, on every symbol that the exchange lists."""
    return [
        parse.resting(order, parse.contract_size(client.market(order["symbol"])))
        for order in await order_pages.open_orders(client)
        if unlisted.is_readable(
            client,
            str(order["symbol"]),
            what="open orders",
            may_be_ours=unlisted.is_our_id(str(order.get("clientOrderId") or "")),
        )
    ]
