"""The checks of a connection test, each with a hint for the account's owner. No order is sent;
margin mode and leverage are set if the account demands them."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any, TypeVar

from brokers.base import ReadFailed, Rejected, outcome_of
from brokers.crypto import account_identity, margin, order_encoding, reads
from brokers.crypto.client import Client, ClientPool
from brokers.crypto.exchanges import CHECKED
from brokers.crypto.orders import redact_error
from brokers.types import Check, CheckResult, ConnectionSpec
from common.reason_codes import Code

T = TypeVar("T")
OK, WARN, FAIL = CheckResult.OK, CheckResult.WARN, CheckResult.FAIL
SKEW_MS = 2_000
TEST_SECONDS = 30.0


async def run(clients: ClientPool, spec: ConnectionSpec) -> list[Check]:
    """Run the checks; stop at the first failure that makes the others pointless."""
    client = await outcome_of(_open(clients, spec))
    if isinstance(client, ReadFailed):
        if client.code is Code.LIBRARY_MISSING:
            return [Check("library", FAIL, client.detail, client.code.hint)]
        return [Check("settings", FAIL, client.detail, "Correct the connection's settings.")]
    if isinstance(client, Exception):
        detail = redact_error(client, spec)
        hint = "Check the network, the exchange's status page, and whether it serves this country."
        return [Check("reach", FAIL, detail, hint)]
    checks = [
        Check("reach", OK, f"{client.rules.name} answers"),
        _exchange_rules(client),
        _clock(client),
    ]
    account_identity.forget_unavailable(client)
    balance = await _check_read(spec, "credentials", reads.account, client)
    checks.append(balance)
    if balance.result is FAIL:
        return checks
    checks += [_trading_allowed(balance), *_symbols(client), *_fees(client)]
    checks += await _account_identity(spec, client)
    steps = (
        ("position mode", _position_mode),
        ("account type", _account_kind),
        ("margin", _margins),
        ("rights", _permissions),
        ("nonces", _nonces),
    )
    for name, check in steps:
        checks += await _optional_check(spec, name, check, client)
    return checks


def _exchange_rules(client: Client) -> Check:
    name = client.rules.name
    if name in CHECKED:
        return Check("exchange", OK, f"{name}'s rules for order ids were checked")
    return Check(
        "exchange", WARN, f"{name} was not checked: an order whose answer is lost is not found",
        f"Choose one of {', '.join(sorted(CHECKED))}, or look such orders up by hand.",
    )  # fmt: skip


def _clock(client: Client) -> Check:
    skew = round(client.clock.behind_us() / timedelta(milliseconds=1))
    if abs(skew) <= SKEW_MS:
        return Check("clock", OK, f"{skew} ms from the exchange's")
    return Check(
        "clock", WARN, f"{skew} ms from the exchange's", "Set this machine's clock by NTP."
    )


async def _open(clients: ClientPool, spec: ConnectionSpec) -> Client:
    async with asyncio.timeout(TEST_SECONDS):
        client = await clients.get(spec)
        await client.clock.compare(client.exchange)
    return client


async def _in_time(call: Awaitable[T]) -> T:
    async with asyncio.timeout(TEST_SECONDS):
        return await call


async def _check_read(
    spec: ConnectionSpec, name: str, read: Callable[[Client], Awaitable[Any]], client: Client
) -> Check:
    state = await outcome_of(_in_time(read(client)))
    if isinstance(state, Exception):
        detail = redact_error(state, spec)
        hint = "Enter key and secret again; the key needs reading and trading, never withdrawing."
        return Check(name, FAIL, detail, hint)
    hint = "" if state.trading_allowed else "no trading"
    return Check(name, OK, f"{state.equity:f} {state.currency}", hint)


def _trading_allowed(balance: Check) -> Check:
    if balance.hint:
        return Check("trading", FAIL, "not allowed", "Allow trading for this account and its key.")
    return Check("trading", OK, "not forbidden")


def _symbols(client: Client) -> list[Check]:
    """Check that each listed symbol can be traded."""
    names = client.settings.symbols
    if not names:
        hint = "List the symbols that the account trades, for example BTC/USDT, in `symbols`."
        return [Check("symbols", FAIL, "none is listed", hint)]
    wrong = [name for name in names if not _is_tradable(client, name)]
    if wrong:
        example = "BTC/USDT:USDT" if client.settings.market == "swap" else "BTC/USDT"
        hint = f"Write them as the exchange's {client.settings.market} market does, like {example}."
        return [Check("symbols", FAIL, f"not to be traded here: {', '.join(wrong)}", hint)]
    return [Check("symbols", OK, f"{len(names)} listed")]


def _is_tradable(client: Client, name: str) -> bool:
    try:
        return order_encoding.market_of(client, name).get("active") is not False
    except Rejected:
        return False


def _fees(client: Client) -> list[Check]:
    if client.settings.market != "spot":
        return []
    return [Check(
        "fees", WARN, "some exchanges take the fee from the coin that is bought",
        "An exit sells what is left; pay fees in the exchange's own coin to have none missing.",
    )]  # fmt: skip


async def _optional_check(
    spec: ConnectionSpec,
    name: str,
    check: Callable[[Client], Awaitable[list[Check]]],
    client: Client,
) -> list[Check]:
    checks = await outcome_of(_in_time(check(client)))
    if isinstance(checks, Exception):
        detail = redact_error(checks, spec)
        return [Check(name, WARN, f"could not be read: {detail}", "Look it up at the exchange.")]
    return checks


async def _account_identity(spec: ConnectionSpec, client: Client) -> list[Check]:
    """Check that the key is of the account that was tested before, if one was."""
    if not spec.identity:
        return []
    match await outcome_of(account_identity.require_tested_account(client, spec)):
        case ReadFailed() as error:
            return [Check("key", FAIL, f"{error.code.sentence} {error.detail}", error.code.hint)]
        case Exception() as error:
            detail = redact_error(error, spec)
            return [Check("key", WARN, f"its account could not be read: {detail}", "Test again.")]
    return [Check("key", OK, "of the account that was tested before")]


async def _position_mode(client: Client) -> list[Check]:
    """Check that perpetuals are in one-way mode. In hedge mode a short entry closes no long one,
    and all entries of one side are one position."""
    exchange, settings = client.exchange, client.settings
    if settings.market != "swap":
        return []
    if exchange.has.get("fetchPositionMode"):
        answer = await reads.call_method(client, "fetch_position_mode", settings.symbols[0])
        is_hedged = bool(answer["hedged"])
    else:  # Bybit reports it with each position, open or not
        positions = await reads.call_method(client, "fetch_positions", [settings.symbols[0]])
        is_hedged = any(item.get("hedged") is True for item in positions)
    if not is_hedged:
        return [Check("position mode", OK, "one-way")]
    hint = "Set the account to one-way mode at the exchange; it must hold no position for that."
    return [Check("position mode", FAIL, "the account is in hedge mode", hint)]


async def _margins(client: Client) -> list[Check]:
    """State margin mode and leverage of each symbol, after what the account demands was set."""
    if client.settings.market != "swap" or client.rules.margin is None:
        return []
    checks = []
    for symbol in client.settings.symbols:
        found, refused = await margin.read_or_set(client, symbol)
        if differs := margin.fault(client, found):
            code, detail = differs
            text = f"{symbol}: {detail}. {refused}".strip()
            checks.append(Check("margin", FAIL, text, code.hint))
        else:
            checks.append(Check("margin", OK, f"{symbol}: {found}"))
    return checks


async def _account_kind(client: Client) -> list[Check]:
    """Check that a Bybit account is unified: others read the amount of a market buy as money."""
    if client.rules.name != "bybit":
        return []
    answer = (await reads.call_method(client, "privateGetV5UserQueryApi"))["result"]
    if str(answer.get("uta")) != "1":
        hint = "Upgrade the account to a unified trading account at Bybit."
        return [Check("account type", FAIL, "not a unified trading account", hint)]
    return [Check("account type", OK, "unified")]


async def _permissions(client: Client) -> list[Check]:
    """Check the key's permissions, where the exchange reports them: too few, and too many."""
    if client.rules.name == "bybit":
        answer = (await reads.call_method(client, "privateGetV5UserQueryApi"))["result"]
        permissions = {item for all_ in (answer.get("permissions") or {}).values() for item in all_}
        may_trade = str(answer.get("readOnly")) == "0"
    elif client.rules.name == "okx":
        answer = (await reads.call_method(client, "privateGetAccountConfig"))["data"][0]
        permissions = set(str(answer.get("perm") or "").split(","))
        may_trade = "trade" in permissions
    else:
        return []
    if not may_trade:
        return [Check("rights", FAIL, "the key may only read", "Give the key the right to trade.")]
    if permissions & {"Withdraw", "withdraw"}:
        hint = "Remove the right to withdraw: a thief of the key could take the money."
        return [Check("rights", WARN, "the key may withdraw", hint)]
    return [Check("rights", OK, "the key may trade")]


async def _nonces(client: Client) -> list[Check]:
    """Warn that Kraken numbers a key's requests: two processes with one key disturb each other."""
    if not client.rules.one_at_a_time:
        return []
    hint = "Make a key for this installation alone, with a nonce window of 10 seconds."
    return [Check("nonces", WARN, "each request of a key needs a greater number", hint)]
